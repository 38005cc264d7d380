"""Scores of masks against references."""

from __future__ import annotations

from medseg.metrics.lesions import DetectionCounts, LesionMatch, LesionMatching, match_lesions
from medseg.metrics.overlap import OverlapScores, dice_score, overlap_scores
from medseg.metrics.surfaces import SurfaceDistances, surface_dice, surface_distances

__all__ = [
    "DetectionCounts",
    "LesionMatch",
    "LesionMatching",
    "OverlapScores",
    "SurfaceDistances",
    "dice_score",
    "match_lesions",
    "overlap_scores",
    "surface_dice",
    "surface_distances",
]
