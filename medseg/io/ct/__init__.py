"""CT series of DICOM files: scan a folder, group, check, repair and read."""
