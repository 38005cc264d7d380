"""Overlap of two masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import check_whole_labels

__all__ = ["dice_score"]


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
    first, second = _foreground(prediction, "prediction"), _foreground(reference, "reference")
    if first.shape != second.shape:
        raise ValueError(f"prediction has shape {first.shape}, reference {second.shape}; both must be on one grid")
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2.0 * int(np.count_nonzero(first & second)) / total if total else 1.0


def _foreground(labels: Any, what: str) -> NDArray[np.bool_]:
    """Where a label map is above 0; also of a tensor on another device or of a type that NumPy does not have."""
    values = labels if hasattr(labels, "detach") else np.asarray(labels)
    if str(values.dtype).removeprefix("torch.").startswith(("complex", "object", "<U", "|S")):
        raise ValueError(f"{what} has type {values.dtype}, expected real numbers")
    check_whole_labels(values, what)
    above = values > 0
    return np.asarray(above.cpu() if hasattr(above, "cpu") else above)
