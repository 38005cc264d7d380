"""Overlap and volume difference of two masks."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import check_whole_labels

__all__ = ["EmptyMasks", "OverlapScores", "dice_score", "foreground_pair", "overlap_scores"]

EmptyMasks = Literal["none", "prediction", "reference", "both"]
"""Which of two masks holds no voxel."""


class OverlapScores(NamedTuple):
    """Overlap of a prediction P with a reference R.

    Attributes:
        dice: 2 |P and R| / (|P| + |R|), in [0, 1]; 1 if both are empty, 0 if one is.
        jaccard: |P and R| / |P or R|, in [0, 1]; 1 if both are empty, 0 if one is.
        voe: volume overlap error, 1 - jaccard; 0 if both are empty, 1 if one is.
        rvd: relative volume difference (|P| - |R|) / |R|: positive for a prediction that is too large; 0 if both are
            empty, NaN if only the reference is.
        rvd_lits: (|R| - |P|) / |P|, which the scripts of the LiTS challenge call RVD: its sign is reversed and
            it is divided by the prediction; 0 if both are empty, NaN if only the prediction is.
        prediction_voxels: |P|.
        reference_voxels: |R|.
        common_voxels: |P and R|.
        empty: which of the masks is empty.

    >>> overlap_scores([1, 1, 0], [0, 1, 1]).dice
    0.5
    """

    dice: float
    jaccard: float
    voe: float
    rvd: float
    rvd_lits: float
    prediction_voxels: int
    reference_voxels: int
    common_voxels: int
    empty: EmptyMasks


def dice_score(prediction: ArrayLike, reference: ArrayLike) -> float:
    """Dice coefficient of two binary masks: twice the number of common voxels, divided by the sum of both.

    For whole volumes as NumPy arrays; inside a training loop use MONAI's ``DiceMetric``.

    Args:
        prediction: mask or label map of any shape, array or tensor of any type; values above 0 count as foreground.
        reference: mask or label map of the same shape.

    Returns:
        A value in [0, 1]; 1 if both masks are empty, as in the LiTS evaluation.

    Raises:
        ValueError: if the shapes differ, values are not real numbers, or a value is not a whole number: probabilities
            must be thresholded first.

    >>> dice_score([[0, 1, 1]], [[1, 1, 1]])
    0.8
    """
    return overlap_scores(prediction, reference).dice


def overlap_scores(prediction: ArrayLike, reference: ArrayLike) -> OverlapScores:
    """Dice, Jaccard index, volume overlap error and both definitions of the relative volume difference.

    Args:
        prediction: as for `dice_score`.
        reference: as for `dice_score`.

    Raises:
        ValueError: as `dice_score`.

    >>> scores = overlap_scores([1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1])  # 20 % too large
    >>> round(scores.rvd, 3), round(scores.rvd_lits, 3), scores.empty
    (0.2, -0.167, 'none')
    """
    first, second = foreground_pair(prediction, reference)
    common = int(np.count_nonzero(first & second))
    return scores_of_counts(int(np.count_nonzero(first)), int(np.count_nonzero(second)), common)


def scores_of_counts(prediction: int, reference: int, common: int) -> OverlapScores:
    """The same from numbers of voxels."""
    empty = which_empty(prediction, reference)
    union = prediction + reference - common
    jaccard = common / union if union else 1.0
    return OverlapScores(
        dice=2.0 * common / (prediction + reference) if union else 1.0,
        jaccard=jaccard,
        voe=1.0 - jaccard,
        rvd=_relative(prediction - reference, reference, empty),
        rvd_lits=_relative(reference - prediction, prediction, empty),
        prediction_voxels=prediction,
        reference_voxels=reference,
        common_voxels=common,
        empty=empty,
    )


def which_empty(prediction: int, reference: int) -> EmptyMasks:
    """Which of two masks is empty, by their numbers of voxels."""
    if prediction and reference:
        return "none"
    if not prediction and not reference:
        return "both"
    return "reference" if prediction else "prediction"


def _relative(difference: int, base: int, empty: EmptyMasks) -> float:
    if base:
        return difference / base
    return 0.0 if empty == "both" else float("nan")


def foreground_pair(prediction: Any, reference: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Both masks as bool arrays of one shape.

    Raises:
        ValueError: if the shapes differ, or a value is not a whole number.

    >>> [mask.tolist() for mask in foreground_pair([0, 2], [1, 0])]
    [[False, True], [True, False]]
    """
    first, second = _foreground(prediction, "prediction"), _foreground(reference, "reference")
    if first.shape != second.shape:
        raise ValueError(f"prediction has shape {first.shape}, reference {second.shape}; both must be on one grid")
    return first, second


def labels_of(labels: Any, what: str) -> Any:
    """Labels as a tensor, if they are one, or else as an array; refused unless they are whole real numbers."""
    values = labels if hasattr(labels, "detach") else np.asarray(labels)
    if values.dtype == np.bool_:  # nothing to check
        return values
    if str(values.dtype).removeprefix("torch.").startswith(("complex", "object", "<U", "|S")):
        raise ValueError(f"{what} has type {values.dtype}, expected real numbers")
    check_whole_labels(values, what)
    return values


def mask_of(comparison: Any) -> NDArray[np.bool_]:
    """The outcome of a comparison as an array, also of a tensor on another device."""
    return np.asarray(comparison.cpu() if hasattr(comparison, "cpu") else comparison)


def _foreground(labels: Any, what: str) -> NDArray[np.bool_]:
    """Where a label map is above 0; also of a tensor on another device or of a type that NumPy does not have."""
    values = labels_of(labels, what)
    return mask_of(values if values.dtype == np.bool_ else values > 0)
