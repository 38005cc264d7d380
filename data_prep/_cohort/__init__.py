"""Helpers of `data_prep.cohort`: cases, jobs, workers, locks and the manifest."""
