"""Helpers of the benchmark of whole-volume inference."""
