"""Segmentation results in the formats of other programs: DICOM SEG, RTSTRUCT, seg.nrrd."""
