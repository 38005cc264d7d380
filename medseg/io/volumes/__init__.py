"""Image files with one volume each: NIfTI, MetaImage, NRRD."""
