"""The scores of the LiTS challenge as its scripts compute them.

Source: Bilic et al., The Liver Tumor Segmentation Benchmark (LiTS), Medical Image Analysis 2023, and the evaluation
scripts of the challenge. Rules that differ from usual scores, kept here so that numbers can be compared:

* label 2 is tumour, and liver is every voxel from 1 on. A prediction without a voxel of *label 1* has no liver,
  whatever it holds of label 2: its liver scores are the penalties.
* tumours are 6-connected; neighbours that one prediction joins are merged (`match_lesions` with "lits").
* a surface voxel has a background voxel among its 18 neighbours.
* VOE, RVD and distances of tumours are means over *detected* tumours alone (IoU above 0.5), pooled over all cases. They
  say nothing about tumours that were missed.
* RVD is (|R| - |P|) / |P|: ``rvd_lits``. The paper's definition, (|P| - |R|) / |R|, stands beside it as ``rvd``.
* where there is nothing to measure, distances and RVD are 9001, VOE 1, and Dice 0.
* Dice per case is 1 if neither mask holds a tumour.
* the largest error of the tumour burden is the largest *signed* difference, reference minus prediction.

The scores without these rules are those of `medseg.metrics.evaluate_case`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.metrics.lesions import DetectionCounts, LesionMatching, match_lesions
from medseg.metrics.overlap import OverlapScores, labels_of, mask_of, overlap_scores
from medseg.metrics.surfaces import surface_distances

__all__ = ["LITS_PENALTY", "LitsCase", "LitsObject", "lits_case", "lits_summary"]

LITS_PENALTY = 9001.0
"""What the scripts take for a distance, an RVD or a tumour burden that does not exist."""

_TUMOUR, _SURFACE_NEIGHBOURS = 2, 2
_THRESHOLDS = (0.0, 0.5)


class LitsObject(NamedTuple):
    """Scores of one object: a liver, or a detected tumour.

    Attributes:
        dice: Dice coefficient.
        jaccard: Jaccard index.
        voe: 1 - jaccard.
        rvd: (|P| - |R|) / |R|.
        rvd_lits: (|R| - |P|) / |P|.
        assd: average symmetric surface distance, mm.
        rmsd: root mean squared symmetric surface distance, mm.
        msd: maximum symmetric surface distance, mm.

    >>> mask = np.ones((4, 4, 4), np.uint8)
    >>> lits_case(mask, mask, spacing_mm=(1, 1, 1)).liver_object.dice
    1.0
    """

    dice: float
    jaccard: float
    voe: float
    rvd: float
    rvd_lits: float
    assd: float
    rmsd: float
    msd: float


_MISSING = LitsObject(0.0, 0.0, 1.0, LITS_PENALTY, LITS_PENALTY, LITS_PENALTY, LITS_PENALTY, LITS_PENALTY)


class LitsCase(NamedTuple):
    """Scores of one case.

    Attributes:
        tumour: overlap of all tumour voxels; ``tumour.dice`` is the Dice per case.
        liver: overlap of the livers; Dice 0 where the prediction has no voxel of label 1.
        liver_object: the liver's scores, or the penalties.
        tumour_objects: scores of the detected tumours.
        detection: counts of tumours by the IoU above which they are found: 0 and 0.5.
        burden_reference: share of tumour voxels in the liver.
        burden_prediction: the same, or 9001 where the prediction has no voxel of label 1.
        liver_predicted: whether the prediction has a voxel of label 1.

    >>> mask = np.ones((4, 4, 4), np.uint8)
    >>> lits_case(mask, mask, spacing_mm=(1, 1, 1)).liver.dice
    1.0
    """

    tumour: OverlapScores
    liver: OverlapScores
    liver_object: LitsObject
    tumour_objects: tuple[LitsObject, ...]
    detection: dict[float, DetectionCounts]
    burden_reference: float
    burden_prediction: float
    liver_predicted: bool

    @property
    def burden_error(self) -> float:
        """Tumour burden of the reference minus that of the prediction."""
        return self.burden_reference - self.burden_prediction


def lits_case(prediction: ArrayLike, reference: ArrayLike, spacing_mm: Sequence[float], workers: int = 1) -> LitsCase:
    """Score one case by the rules of LiTS.

    Args:
        prediction: label map of 0 background, 1 liver, 2 tumour, three axes.
        reference: the same of the same shape; it holds a liver.
        spacing_mm: distance of the voxels along every array axis, mm. The scripts take it from the reference's header.
        workers: threads of the search for distances.

    Raises:
        ValueError: if the shapes differ, values are not whole numbers, or the reference holds no liver.

    >>> reference = np.zeros((9, 9, 9), np.uint8)
    >>> reference[1:8, 1:8, 1:8] = 1
    >>> reference[2:5, 2:5, 2:5] = 2
    >>> case = lits_case(reference, reference, spacing_mm=(1, 1, 1))
    >>> case.tumour.dice, case.detection[0.5].recall, case.burden_error
    (1.0, 1.0, 0.0)
    """
    p, r = _labels(prediction, "prediction"), _labels(reference, "reference")
    tumours = mask_of(p == _TUMOUR), mask_of(r == _TUMOUR)
    livers = mask_of(p >= 1), mask_of(r >= 1)
    liver = overlap_scores(*livers)
    if not liver.reference_voxels:
        raise ValueError("the reference holds no liver (no value from 1 on), expected one; score it with scheme plain")
    tumour = overlap_scores(*tumours)
    predicted = bool(mask_of(p == 1).any())
    matching = match_lesions(*tumours, rule="lits")
    objects = [_object(*masks, spacing_mm, workers) for masks in _detected(matching)]
    return LitsCase(
        tumour=tumour,
        liver=liver if predicted else liver._replace(dice=0.0, jaccard=0.0, voe=1.0, common_voxels=0),
        liver_object=_object(*livers, spacing_mm, workers) if predicted else _MISSING,
        tumour_objects=tuple(objects),
        detection={limit: matching.counts(limit) for limit in _THRESHOLDS},
        burden_reference=tumour.reference_voxels / liver.reference_voxels,
        burden_prediction=tumour.prediction_voxels / liver.prediction_voxels if predicted else LITS_PENALTY,
        liver_predicted=predicted,
    )


def lits_summary(cases: Sequence[LitsCase]) -> dict[str, float]:
    """The scores of a data set, with the names of the challenge's tables in lower case.

    Args:
        cases: at least one.

    Returns:
        ``lesion_precision`` and ``lesion_recall`` (IoU above 0.5), ``lesion_precision_greater_zero`` and
        ``lesion_recall_greater_zero``; for ``lesion`` and ``liver`` the means of the fields of `LitsObject`, and
        ``dice_per_case`` and ``dice_global``; ``rmse_tumorburden`` and ``maxerror_tumorburden``. Precision and recall
        are 0 where they are not defined; ``lesion_dice_global`` is NaN if no case has a tumour in either mask.

    >>> reference = np.zeros((9, 9, 9), np.uint8)
    >>> reference[1:8, 1:8, 1:8] = 1
    >>> summary = lits_summary([lits_case(reference, reference, (1, 1, 1))])  # no tumour in either mask
    >>> summary["lesion_dice_per_case"], summary["lesion_recall"], summary["lesion_assd"]
    (1.0, 0.0, 9001.0)
    """
    if not cases:
        raise ValueError("no case to sum up, expected at least one")
    result: dict[str, float] = {}
    for limit, suffix in ((0.5, ""), (0.0, "_greater_zero")):
        total = sum((case.detection[limit] for case in cases), DetectionCounts(0, 0, 0))
        for name in ("precision", "recall", "f1"):
            value = getattr(total, name)
            result[f"lesion_{name}{suffix}"] = 0.0 if math.isnan(value) else value
    tumours = [item for case in cases for item in case.tumour_objects]
    result |= _means("lesion", tumours or [_MISSING], [case.tumour for case in cases], cases)
    result |= _means("liver", [case.liver_object for case in cases], [case.liver for case in cases], cases)
    errors = [case.burden_error for case in cases]
    result["rmse_tumorburden"] = float(np.sqrt(np.mean(np.square(errors))))
    result["maxerror_tumorburden"] = float(np.max(errors))
    return result


def _means(
    what: str, objects: Sequence[LitsObject], overlaps: Sequence[OverlapScores], cases: Sequence[LitsCase]
) -> dict[str, float]:
    result = {f"{what}_{name}": float(np.mean([getattr(o, name) for o in objects])) for name in LitsObject._fields}
    result[f"{what}_dice_per_case"] = float(np.mean([scores.dice for scores in overlaps]))
    # A prediction without label 1 adds only the reference's liver voxels to the global Dice.
    counted = [case.liver_predicted or what == "lesion" for case in cases]
    size = sum(
        o.reference_voxels + (o.prediction_voxels if use else 0) for o, use in zip(overlaps, counted, strict=True)
    )
    result[f"{what}_dice_global"] = 2 * sum(o.common_voxels for o in overlaps) / size if size else float("nan")
    return result


def _detected(matching: LesionMatching) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Both masks of every detected tumour, in the box around both: a scan can hold dozens."""
    from scipy import ndimage

    if not matching.matches:
        return
    maps = matching.predicted_labels, matching.reference_labels
    boxes = [ndimage.find_objects(labels) for labels in maps]
    for match in matching.matches:
        if match.iou <= _THRESHOLDS[-1]:
            continue
        numbers = match.predicted, match.reference
        mine = [found[n - 1] for found, group in zip(boxes, numbers, strict=True) for n in group]
        box = tuple(
            slice(min(part.start for part in parts), max(part.stop for part in parts))
            for parts in zip(*mine, strict=True)
        )
        yield np.isin(maps[0][box], numbers[0]), np.isin(maps[1][box], numbers[1])


def _object(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: Sequence[float], workers: int
) -> LitsObject:
    overlap = overlap_scores(prediction, reference)
    far = surface_distances(prediction, reference, spacing_mm, _SURFACE_NEIGHBOURS, workers)
    return LitsObject(
        overlap.dice, overlap.jaccard, overlap.voe, overlap.rvd, overlap.rvd_lits, far.assd_mm, far.rmsd_mm, far.msd_mm
    )


def _labels(labels: Any, what: str) -> Any:
    values = labels_of(labels, what)
    if values.ndim != 3:
        raise ValueError(f"{what} has {values.ndim} axes, expected 3")
    return values
