"""Readers under inputs that nobody meant: saved ones, drawn ones, and those of a coverage-guided fuzzer."""
