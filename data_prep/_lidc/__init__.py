"""Helpers of the LIDC-IDRI commands."""
