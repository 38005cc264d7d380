"""Helpers of ``data_prep.labels``."""
