"""The report of a segmentation as one HTML file: its pictures, its script and its text."""

from __future__ import annotations

from medseg.inference.outputs.html.report import segmentation_report

__all__ = ["segmentation_report"]
