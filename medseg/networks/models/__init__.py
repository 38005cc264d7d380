"""The networks of papers, one file per paper."""
