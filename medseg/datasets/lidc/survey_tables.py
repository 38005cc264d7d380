"""Tables of the whole annotation database, from the measures of its scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.datasets.lidc.clusters import MOST_MEMBERS
from medseg.datasets.lidc.survey import NoduleFigures, ScanFigures

__all__ = ["agreement", "counts", "malignancy_splits"]

THICKNESS_CUTS_MM = (None, 2.5)
"""All scans, and those that the LUNA16 challenge kept."""
_DIAMETERS_MM = ((3.0, 6.0), (6.0, 10.0), (10.0, 20.0), (20.0, np.inf))
_TEXTURES = (("ground-glass (at most 2)", 0.0, 2.0), ("part-solid", 2.01, 3.99), ("solid (at least 4)", 4.0, 5.0))


def counts(scans: Sequence[ScanFigures]) -> dict[str, Any]:
    """What the database holds, and the number of nodules by the number of annotations.

    Returns:
        Numbers of scans, patients, patients with several scans, annotations, contours and exclusion contours; nodules
        by exactly 1 to 4 and by more than 4 annotations; nodules by at least 1 to 4 with their median and largest
        diameter; the scans (patient, series) with a nodule of more than four.
    """
    nodules = [nodule for scan in scans for nodule in scan.nodules]
    members = np.array([nodule.annotations for nodule in nodules])
    diameters = np.array([nodule.diameter_mm for nodule in nodules])
    patients = [item.scan.patient_id for item in scans]
    large = [item.scan for item in scans if any(nodule.annotations > MOST_MEMBERS for nodule in item.nodules)]
    return {
        "scans": len(scans),
        "patients": len(set(patients)),
        "patients_with_several_scans": sorted({name for name in patients if patients.count(name) > 1}),
        "scans_without_annotations": sum(not item.annotations for item in scans),
        "annotations": sum(item.annotations for item in scans),
        "contours": sum(item.contours for item in scans),
        "exclusion_contours": sum(item.exclusions for item in scans),
        "nodules": len(nodules),
        "nodules_by_exactly": {str(k): int((members == k).sum()) for k in range(1, MOST_MEMBERS + 1)},
        "nodules_by_more_than_4": int((members > MOST_MEMBERS).sum()),
        "nodules_by_at_least": [_at_least(k, members, diameters) for k in range(1, MOST_MEMBERS + 1)],
        "scans_with_more_than_4": [{"patient": scan.patient_id, "series": scan.series_uid} for scan in large],
    }


def _at_least(k: int, members: NDArray[np.int64], diameters: NDArray[np.float64]) -> dict[str, Any]:
    chosen = diameters[members >= k]
    largest = [round(float(join(chosen)), 2) for join in (np.median, np.max)] if len(chosen) else [None, None]
    return {
        "readers": k,
        "nodules": len(chosen),
        "diameter_median_mm": largest[0],
        "diameter_largest_mm": largest[1],
    }


def agreement(scans: Sequence[ScanFigures]) -> list[dict[str, Any]]:
    """How well readers agree, nodules of more than four annotations (merged neighbours) left out.

    A nodule counts once, with the mean over all its pairs of readers; mean and standard deviation are over nodules.

    Returns:
        One row for nodules of at least 2, of at least 3 and of 4 readers, then those of at least 3 by diameter and by
        median texture.
    """
    nodules = [n for scan in scans for n in scan.nodules if n.annotations <= MOST_MEMBERS]
    rows = [_agreement_row(f"at least {k} readers", [n for n in nodules if n.annotations >= k]) for k in (2, 3)]
    rows.append(_agreement_row("4 readers", [n for n in nodules if n.annotations == MOST_MEMBERS]))
    three = [n for n in nodules if n.annotations >= 3]
    for low, high in _DIAMETERS_MM:
        name = f"diameter {low:g} to {high:g} mm" if np.isfinite(high) else f"diameter from {low:g} mm on"
        rows.append(_agreement_row(f"3+ readers, {name}", [n for n in three if low <= n.diameter_mm < high]))
    for name, least, most in _TEXTURES:
        chosen = [n for n in three if n.texture and least <= float(np.median(n.texture)) <= most]
        rows.append(_agreement_row(f"3+ readers, {name}", chosen))
    return rows


def _agreement_row(name: str, nodules: Sequence[NoduleFigures]) -> dict[str, Any]:
    row: dict[str, Any] = {"subset": name, "nodules": len(nodules)}
    for key in ("reader_dice", "reader_iou", "consensus_dice"):
        values = np.array([getattr(nodule, key) for nodule in nodules])
        row[key] = round(float(values.mean()), 4) if len(values) else None
        row[f"{key}_sd"] = round(float(values.std()), 4) if len(values) else None
    return row


def malignancy_splits(scans: Sequence[ScanFigures]) -> list[dict[str, Any]]:
    """Nodules whose joined malignancy score is below, at and above 3, by rule, least number of readers and thickness.

    Returns:
        Rows for all scans and for those of at most 2.5 mm SliceThickness, at least 1 to 4 readers, median and mean.
    """
    rows = []
    for cut in THICKNESS_CUTS_MM:
        kept = [s for s in scans if cut is None or s.scan.slice_thickness_mm <= cut]
        for least in range(1, MOST_MEMBERS + 1):
            chosen = [n.malignancy for s in kept for n in s.nodules if n.annotations >= least and n.malignancy]
            row: dict[str, Any] = {"slice_thickness_at_most_mm": cut, "readers": least, "nodules": len(chosen)}
            for name, join in (("median", np.median), ("mean", np.mean)):
                values = np.array([float(join(scores)) for scores in chosen])
                row[name] = [int((values < 3).sum()), int((values == 3).sum()), int((values > 3).sum())]
            rows.append(row)
    return rows
