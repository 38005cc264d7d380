"""Helpers of `data_prep.nnunet`."""
