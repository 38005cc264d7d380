"""Volumes of one file each: NIfTI, MetaImage, NRRD."""
