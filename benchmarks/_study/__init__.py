"""What all studies share: the record of their runs, bootstrap intervals, and the parts of their tables."""
