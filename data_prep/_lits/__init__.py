"""Helpers of `data_prep.lits`."""
