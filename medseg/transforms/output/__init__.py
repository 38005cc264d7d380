"""Transforms that write results."""

from __future__ import annotations

from medseg.transforms.output.save_mask import SaveMask, SaveMaskd

__all__ = ["SaveMask", "SaveMaskd"]
