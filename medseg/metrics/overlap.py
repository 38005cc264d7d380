"""Overlap of two masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["dice_score"]


def dice_score(prediction: ArrayLike, reference: ArrayLike) -> float:
    """Dice coefficient of two binary masks: twice the number of common voxels, divided by the sum of both.

    For whole volumes as NumPy arrays; inside a training loop use MONAI's ``DiceMetric``.

    Args:
        prediction: array of any shape; values above 0 count as foreground.
        reference: array of the same shape.

    Returns:
        A value in [0, 1]; 1 if both masks are empty, as in the LiTS evaluation.

    Raises:
        ValueError: if the shapes differ.

    >>> dice_score([[0, 1, 1]], [[1, 1, 1]])
    0.8
    """
    first, second = np.asarray(prediction) > 0, np.asarray(reference) > 0
    if first.shape != second.shape:
        raise ValueError(f"prediction has shape {first.shape}, reference {second.shape}; both must be on one grid")
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2.0 * int(np.count_nonzero(first & second)) / total if total else 1.0
