"""Segmentation results as files of other programs: DICOM SEG, RTSTRUCT, seg.nrrd."""
