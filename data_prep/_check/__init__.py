"""Helpers of `data_prep.check`: pairs, findings, fixes and pictures."""
