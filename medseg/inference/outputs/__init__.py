"""What a segmentation leaves on disk: a folder with mask, statistics, preview, report, log and DICOM objects."""

from __future__ import annotations

__all__: list[str] = []
