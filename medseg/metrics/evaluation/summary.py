"""What the scores of a folder amount to: means with intervals, pooled counts, the table of LiTS, a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.metrics.bootstrap import Interval, bootstrap_interval, bootstrap_mean, paired_difference
from medseg.metrics.evaluation.case import CaseScores
from medseg.metrics.evaluation.folders import Evaluation
from medseg.metrics.evaluation.tables import SCORES, score_of
from medseg.metrics.lesions import DetectionCounts
from medseg.metrics.lits import lits_summary

__all__ = ["RULES", "SUMMARY_SCHEMA_VERSION", "compare", "summarise"]

SUMMARY_SCHEMA_VERSION = 1

RULES = {
    "dice": "1 if both masks are empty, 0 if one is",
    "distances": "0 if both masks are empty; left out of the mean if one is (see items)",
    "surface_dice": "1 if both masks are empty, 0 if one is",
    "rvd": "0 if both masks are empty; left out of the mean if the reference is (rvd_lits: if the prediction is)",
    "lesions": "26 neighbours, matched one to one; found_any: any overlap, found_half: IoU above 0.5; counts are "
    "pooled over the cases; precision, recall and F1 are null where they are a share of nothing",
    "interval": "95 %, percentile bootstrap that draws patients",
    "lits": "rules of the challenge: 6 neighbours, merged lesions, distances of detected tumours alone, 9001 where "
    "there is none",
}
"""How empty masks and other special cases are scored; part of every summary."""

_DIAMETERS = (("below_10_mm", 0.0, 10.0), ("10_to_20_mm", 10.0, 20.0), ("from_20_mm", 20.0, float("inf")))
_COMPARED = ("dice", "surface_dice", "assd_mm", "hd95_mm")
_DETECTION = ("precision", "recall", "f1")


def summarise(found: Evaluation, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """The summary of a folder, ready for JSON.

    Args:
        found: with at least one scored case.
        resamples: of the bootstrap.
        seed: of its draws.
    """
    settings = found.settings
    return {
        "schema_version": SUMMARY_SCHEMA_VERSION,
        "scheme": settings.scheme,
        "classes": {name: list(values) or "all above 0" for name, values in settings.classes.items()},
        "lesion_classes": list(settings.lesion_classes),
        "tolerance_mm": settings.tolerance_mm,
        "cases": len(found.names),
        "patients": len(set(found.patients)),
        "failed": len(found.failed),
        "rules": RULES,
        "scores": {name: _class_summary(found, name, resamples, seed) for name in settings.classes},
        "lits": lits_summary([case.lits for case in found.scores if case.lits is not None])
        if settings.scheme == "lits"
        else None,
        "comparison": None,
        "notes": list(found.notes),
    }


def compare(found: Evaluation, baseline: Evaluation, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Paired comparison with another result over the cases that both have, ready for JSON.

    Args:
        found: the result.
        baseline: the other one, scored with the same settings.
        resamples: of the bootstrap.
        seed: of its draws.

    Returns:
        For every class and score the mean difference, result minus baseline, with interval and test; for lesions the
        difference of the pooled precision, recall and F1 (IoU above 0.5) with its interval.
    """
    other = dict(zip(baseline.names, baseline.scores, strict=True))
    common = [i for i, name in enumerate(found.names) if name in other]
    pairs = [(found.scores[i], other[found.names[i]]) for i in common]
    patients = [found.patients[i] for i in common]
    classes: dict[str, Any] = {}
    for place, name in enumerate(found.settings.classes):
        classes[name] = {
            score: paired_difference(
                [score_of(a.classes[place], score) for a, _ in pairs],
                [score_of(b.classes[place], score) for _, b in pairs],
                patients,
                resamples,
                seed=seed,
            )._asdict()
            for score in _COMPARED
        }
        if name in found.settings.lesion_classes:
            classes[name] |= _detection_difference(pairs, patients, place, resamples, seed)
    return {"cases": len(common), "patients": len(set(patients)), "classes": classes}


def _class_summary(found: Evaluation, name: str, resamples: int, seed: int) -> dict[str, Any]:
    place = list(found.settings.classes).index(name)
    scores = [case.classes[place] for case in found.scores]
    result: dict[str, Any] = {}
    for score in SCORES:
        values = [score_of(item, score) for item in scores]
        known = [value for value in values if not np.isnan(value)]
        interval = bootstrap_mean(values, found.patients, resamples, seed=seed)
        result[score] = _interval(interval) | {
            "median": float(np.median(known)) if known else float("nan"),
            "sd": float(np.std(known, ddof=1)) if len(known) > 1 else float("nan"),
        }
    size = sum(item.overlap.prediction_voxels + item.overlap.reference_voxels for item in scores)
    common = sum(item.overlap.common_voxels for item in scores)
    result["dice_global"] = 2 * common / size if size else float("nan")
    result["empty"] = {
        which: sum(item.overlap.empty == which for item in scores) for which in ("prediction", "reference", "both")
    }
    if name in found.settings.lesion_classes:
        result["lesions"] = {
            "found_any": _counts([item.any_overlap for item in scores]),
            "found_half": _counts([item.half_overlap for item in scores]),
            "recall_by_diameter": _by_diameter(found.scores, name),
        }
    return result


def _interval(interval: Interval) -> dict[str, Any]:
    return {"mean": interval.value, "low": interval.low, "high": interval.high, "items": interval.items}


def _counts(counts: Sequence[DetectionCounts | None]) -> dict[str, Any]:
    total = sum((item for item in counts if item is not None), DetectionCounts(0, 0, 0))
    return total._asdict() | {name: getattr(total, name) for name in _DETECTION}


def _by_diameter(cases: Sequence[CaseScores], name: str) -> dict[str, Any]:
    """Share of the reference lesions of a size that were found by an IoU above 0.5."""
    lesions = [item for case in cases for item in case.lesions if item.name == name and item.reference_ml > 0]
    result = {}
    for key, low, high in _DIAMETERS:
        mine = [item.iou > 0.5 for item in lesions if low <= item.diameter_mm < high]
        result[key] = {"lesions": len(mine), "recall": float(np.mean(mine)) if mine else float("nan")}
    return result


def _detection_difference(
    pairs: Sequence[tuple[CaseScores, CaseScores]], patients: Sequence[str], place: int, resamples: int, seed: int
) -> dict[str, Any]:
    tables = [np.array([pair[side].classes[place].half_overlap for pair in pairs]).reshape(-1, 3) for side in (0, 1)]

    def difference(name: str) -> Callable[[NDArray[np.intp]], float]:
        def statistic(items: NDArray[np.intp]) -> float:
            a, b = (DetectionCounts(*(int(n) for n in table[items].sum(axis=0))) for table in tables)
            return float(getattr(a, name) - getattr(b, name))

        return statistic

    if not pairs:
        return {}
    result = {}
    for name in _DETECTION:
        found = bootstrap_interval(difference(name), patients, min(resamples, 1000), seed=seed)
        result[f"lesion_{name}"] = {"difference": found.value, "low": found.low, "high": found.high}
    return result
