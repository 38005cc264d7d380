"""Scores of masks against references."""

from __future__ import annotations

from medseg.metrics.overlap import dice_score

__all__ = ["dice_score"]
