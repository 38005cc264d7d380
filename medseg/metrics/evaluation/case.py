"""All scores of one case: every class, every lesion, and the rules of LiTS where they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.label_values import component_sizes
from medseg.metrics.boxes import union_box
from medseg.metrics.evaluation.classes import Classes, Scheme, mask_of_class
from medseg.metrics.lesions import DetectionCounts, LesionMatching, match_lesions
from medseg.metrics.lits import LitsCase, lits_case
from medseg.metrics.overlap import OverlapScores, labels_of, overlap_scores
from medseg.metrics.surfaces import surface_dice, surface_distances

__all__ = ["CaseScores", "ClassScores", "LesionScores", "evaluate_case"]


class ClassScores(NamedTuple):
    """Scores of one class of one case. Distances are NaN if one mask is empty, 0 if both are.

    Attributes:
        name: of the class.
        overlap: Dice, VOE, RVD and numbers of voxels, and which mask is empty.
        assd_mm: average symmetric surface distance.
        rmsd_mm: root mean squared symmetric surface distance.
        msd_mm: maximum symmetric surface distance.
        hd95_mm: larger 95th percentile of both directions.
        surface_dice: at the tolerance asked for; NaN where none was.
        prediction_ml: volume of the prediction.
        reference_ml: volume of the reference.
        any_overlap: lesions that were found by any overlap, one to one; None for a class without lesions.
        half_overlap: the same by an IoU above 0.5.

    >>> mask = np.ones((4, 4, 4), np.uint8)
    >>> evaluate_case(mask, mask, (1.0, 1.0, 1.0)).classes[0].overlap.dice
    1.0
    """

    name: str
    overlap: OverlapScores
    assd_mm: float
    rmsd_mm: float
    msd_mm: float
    hd95_mm: float
    surface_dice: float
    prediction_ml: float
    reference_ml: float
    any_overlap: DetectionCounts | None
    half_overlap: DetectionCounts | None


class LesionScores(NamedTuple):
    """One lesion, or a lesion and its partner (one to one).

    Attributes:
        name: of the class.
        kind: "matched", "lost" (in the reference alone) or "invented" (in the prediction alone).
        iou: of both; 0 without a partner.
        dice: of both; 0 without a partner.
        prediction_ml: volume of the predicted lesion; 0 without one.
        reference_ml: volume of the reference lesion; 0 without one.
        diameter_mm: of the sphere with the volume of the reference lesion, or of the invented one.
        centre_voxel: centre of mass in the reference's array, or of the invented lesion.

    >>> mask = np.ones((4, 4, 4), np.uint8)
    >>> evaluate_case(mask, mask, (1.0, 1.0, 1.0)).lesions[0].iou
    1.0
    """

    name: str
    kind: str
    iou: float
    dice: float
    prediction_ml: float
    reference_ml: float
    diameter_mm: float
    centre_voxel: tuple[float, ...]


class CaseScores(NamedTuple):
    """All scores of one case.

    Attributes:
        classes: of every class.
        lesions: every lesion of the classes that have lesions.
        lits: the scores of LiTS; None unless asked for.

    >>> mask = np.ones((4, 4, 4), np.uint8)
    >>> evaluate_case(mask, mask, (1.0, 1.0, 1.0)).lits is None
    True
    """

    classes: tuple[ClassScores, ...]
    lesions: tuple[LesionScores, ...]
    lits: LitsCase | None


def evaluate_case(
    prediction: ArrayLike,
    reference: ArrayLike,
    spacing_mm: Sequence[float],
    classes: Classes | None = None,
    lesion_classes: Collection[str] | None = None,
    tolerance_mm: float | None = None,
    scheme: Scheme = "plain",
    workers: int = 1,
) -> CaseScores:
    """Score one case.

    Lesions are matched one to one with 26 neighbours, and nothing is replaced by a penalty: a distance that does not
    exist is NaN. The scheme "lits" adds the scores of `lits_case`, which differ in both.

    Args:
        prediction: label map of three axes.
        reference: the same of the same shape.
        spacing_mm: distance of the voxels along every array axis, mm.
        classes: the values of every class; None takes one class of all values above 0.
        lesion_classes: classes whose components are lesions; None takes all.
        tolerance_mm: of the surface Dice; None leaves it out (it needs MONAI).
        scheme: "plain", or "lits" for the scores of LiTS as well (values 1 liver, 2 tumour).
        workers: threads of the search for distances.

    Raises:
        ValueError: for other shapes, values that are not whole, or a class of lesions that there is not.

    >>> reference, prediction = np.zeros((2, 8, 8, 8), np.uint8)
    >>> reference[2:5, 2:5, 2:5] = prediction[2:5, 2:5, 3:6] = 1
    >>> (scores,) = evaluate_case(prediction, reference, (1.0, 1.0, 2.0)).classes
    >>> round(scores.overlap.dice, 3), scores.msd_mm, scores.any_overlap.recall
    (0.667, 2.0, 1.0)
    """
    p, r = labels_of(prediction, "prediction"), labels_of(reference, "reference")
    if tuple(p.shape) != tuple(r.shape):
        raise ValueError(f"prediction has shape {tuple(p.shape)}, reference {tuple(r.shape)}; both must be on one grid")
    if p.ndim != 3:
        raise ValueError(f"prediction has {p.ndim} axes, expected 3")
    classes = {"foreground": ()} if classes is None else classes
    with_lesions = set(classes) if lesion_classes is None else set(lesion_classes)
    check_lesion_classes(with_lesions, classes)
    scores, lesions = [], []
    for name, values in classes.items():
        masks = mask_of_class(p, values), mask_of_class(r, values)
        matching = match_lesions(*masks) if name in with_lesions else None
        scores.append(_class_scores(name, masks, spacing_mm, tolerance_mm, matching, workers))
        if matching is not None:
            lesions += _lesions(name, matching, float(np.prod(spacing_mm)))
    lits = lits_case(prediction, reference, spacing_mm, workers) if scheme == "lits" else None
    return CaseScores(tuple(scores), tuple(lesions), lits)


def check_lesion_classes(lesion_classes: Collection[str], classes: Classes) -> None:
    """Raises ValueError if a class of lesions is no class."""
    if unknown := sorted(set(lesion_classes) - set(classes)):
        raise ValueError(f"lesions names {unknown[0]!r}, which is no class; expected some of {', '.join(classes)}")


def _class_scores(
    name: str,
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    spacing_mm: Sequence[float],
    tolerance_mm: float | None,
    matching: LesionMatching | None,
    workers: int,
) -> ClassScores:
    box = union_box(*masks)
    first, second = masks[0][box], masks[1][box]
    overlap = overlap_scores(first, second)
    far = surface_distances(first, second, spacing_mm, workers=workers)
    near = float("nan")
    if tolerance_mm is not None:
        near = surface_dice(first, second, spacing_mm, tolerance_mm, workers)
    ml = float(np.prod(spacing_mm)) / 1000
    return ClassScores(
        name=name,
        overlap=overlap,
        assd_mm=far.assd_mm,
        rmsd_mm=far.rmsd_mm,
        msd_mm=far.msd_mm,
        hd95_mm=far.hd95_mm,
        surface_dice=near,
        prediction_ml=overlap.prediction_voxels * ml,
        reference_ml=overlap.reference_voxels * ml,
        any_overlap=None if matching is None else matching.counts(0.0),
        half_overlap=None if matching is None else matching.counts(0.5),
    )


def _lesions(name: str, matching: LesionMatching, voxel_mm3: float) -> list[LesionScores]:
    start = [part.start for part in matching.box]
    maps = matching.predicted_labels, matching.reference_labels
    sizes = [component_sizes(labels, int(labels.max(initial=0))) for labels in maps]
    centres = [_centres(labels, start) for labels in maps]

    def lesion(kind: str, predicted: int, reference: int, iou: float, dice: float) -> LesionScores:
        numbers = (predicted, reference)
        volumes = [float(count[n - 1] * voxel_mm3) if n else 0.0 for count, n in zip(sizes, numbers, strict=True)]
        which, number = (1, reference) if reference else (0, predicted)
        diameter = float(np.cbrt(6 * volumes[which] / np.pi))
        ml = [volume / 1000 for volume in volumes]
        return LesionScores(name, kind, iou, dice, ml[0], ml[1], diameter, centres[which][number])

    found = [
        lesion("matched", m.predicted[0], m.reference[0], m.iou, 2 * m.iou / (1 + m.iou)) for m in matching.matches
    ]
    found += [lesion("lost", 0, numbers[0], 0.0, 0.0) for numbers in matching.lost]
    return found + [lesion("invented", number, 0, 0.0, 0.0) for number in matching.invented]


def _centres(labels: NDArray[np.int32], start: Sequence[int]) -> dict[int, tuple[float, ...]]:
    """Centre of mass of every component, in the voxels of the whole array."""
    where: Any = np.nonzero(labels)
    numbers = labels[where]
    counts = np.bincount(numbers)
    means = [
        np.bincount(numbers, axis) / np.maximum(counts, 1) + first for axis, first in zip(where, start, strict=True)
    ]
    return {n: tuple(float(mean[n]) for mean in means) for n in range(1, len(counts))}
