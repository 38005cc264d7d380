"""Evaluation of folders: pairs of files, scores of every case, tables, comparison of two results, report."""
