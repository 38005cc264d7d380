"""Benchmarks: one file for each question, run as ``python -m benchmarks.NAME``; ``--help`` lists the options."""
