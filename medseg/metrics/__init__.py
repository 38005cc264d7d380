"""Scores of masks against references."""

from __future__ import annotations

from medseg.metrics.lesions import DetectionCounts, LesionMatch, LesionMatching, match_lesions
from medseg.metrics.lits import LITS_PENALTY, LitsCase, LitsObject, lits_case, lits_summary
from medseg.metrics.overlap import OverlapScores, dice_score, overlap_scores
from medseg.metrics.surfaces import SurfaceDistances, surface_dice, surface_distances

__all__ = [
    "LITS_PENALTY",
    "DetectionCounts",
    "LesionMatch",
    "LesionMatching",
    "LitsCase",
    "LitsObject",
    "OverlapScores",
    "SurfaceDistances",
    "dice_score",
    "lits_case",
    "lits_summary",
    "match_lesions",
    "overlap_scores",
    "surface_dice",
    "surface_distances",
]
