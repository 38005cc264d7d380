"""Scores of masks against references."""

from __future__ import annotations

from medseg.metrics.bootstrap import Interval, PairedDifference, bootstrap_interval, bootstrap_mean, paired_difference
from medseg.metrics.calibration import ReliabilityBin, brier_score, expected_calibration_error, reliability_table
from medseg.metrics.classification import (
    AucDifference,
    AucInterval,
    BinaryScores,
    auc_difference,
    auc_interval,
    binary_scores,
)
from medseg.metrics.evaluation.case import CaseScores, ClassScores, LesionScores, evaluate_case
from medseg.metrics.froc import LUNA16_RATES, Froc, FrocFinding, FrocMark, froc
from medseg.metrics.lesions import DetectionCounts, LesionMatch, LesionMatching, match_lesions
from medseg.metrics.lits import LITS_PENALTY, LitsCase, LitsObject, lits_case, lits_summary
from medseg.metrics.overlap import OverlapScores, dice_score, overlap_scores
from medseg.metrics.readers import ReaderCase, half_consensus, reader_case, reader_table
from medseg.metrics.surfaces import SurfaceDistances, surface_dice, surface_distances

__all__ = [
    "LITS_PENALTY",
    "LUNA16_RATES",
    "AucDifference",
    "AucInterval",
    "BinaryScores",
    "CaseScores",
    "ClassScores",
    "DetectionCounts",
    "Froc",
    "FrocFinding",
    "FrocMark",
    "Interval",
    "LesionMatch",
    "LesionMatching",
    "LesionScores",
    "LitsCase",
    "LitsObject",
    "OverlapScores",
    "PairedDifference",
    "ReaderCase",
    "ReliabilityBin",
    "SurfaceDistances",
    "auc_difference",
    "auc_interval",
    "binary_scores",
    "bootstrap_interval",
    "bootstrap_mean",
    "brier_score",
    "dice_score",
    "evaluate_case",
    "expected_calibration_error",
    "froc",
    "half_consensus",
    "lits_case",
    "lits_summary",
    "match_lesions",
    "overlap_scores",
    "paired_difference",
    "reader_case",
    "reader_table",
    "reliability_table",
    "surface_dice",
    "surface_distances",
]
