"""A simple method to compare a network with: an HU threshold, a binary opening and the largest component."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.metrics import dice_score

__all__ = ["ThresholdBaseline", "tune_threshold"]

_PERCENTILES = ((2, 98), (5, 95), (10, 90), (20, 80), (30, 95), (5, 70))
_OPENINGS = (0, 1, 2, 3)


class ThresholdBaseline(NamedTuple):
    """A tuned threshold rule.

    Attributes:
        lower_hu: lowest value kept.
        upper_hu: highest value kept.
        opening: number of erosions, then dilations, with the face-connected cross (voxels).

    >>> import numpy as np
    >>> image = np.full((9, 9, 9), -1000)
    >>> image[2:7, 2:7, 2:7] = 60
    >>> int(ThresholdBaseline(lower_hu=40, upper_hu=80, opening=0).segment(image).sum())
    125
    """

    lower_hu: float
    upper_hu: float
    opening: int

    def segment(self, image: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the mask of one image ``[i, j, k]`` in HU."""
        mask = (image >= self.lower_hu) & (image <= self.upper_hu)
        if self.opening:
            mask = ndimage.binary_opening(mask, iterations=self.opening)
        return _largest_component(mask)


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == int(sizes.argmax())


def tune_threshold(cases: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[ThresholdBaseline, float]:
    """Choose the rule with the best mean Dice on training cases.

    The candidate limits are percentiles of the target's HU over all cases, with zero to three opening steps.

    Args:
        cases: pairs of image (HU) and mask, each ``[i, j, k]``.

    Returns:
        The best rule and its mean Dice on these cases.

    Raises:
        ValueError: if there is no case or no foreground voxel.

    >>> import numpy as np
    >>> image = np.full((9, 9, 9), -1000)
    >>> image[2:7, 2:7, 2:7] = 60
    >>> rule, dice = tune_threshold([(image, image > 0)])
    >>> rule.lower_hu, rule.upper_hu, dice
    (60.0, 60.0, 1.0)
    """
    values = np.concatenate([image[mask > 0].ravel() for image, mask in cases]) if cases else np.array([])
    if values.size == 0:
        raise ValueError("no foreground voxel in the training cases; the threshold cannot be tuned")
    limits = [tuple(float(v) for v in np.percentile(values, pair)) for pair in _PERCENTILES]
    rules: Iterable[ThresholdBaseline] = (
        ThresholdBaseline(lower, upper, opening) for (lower, upper), opening in itertools.product(limits, _OPENINGS)
    )
    scored = [(float(np.mean([dice_score(rule.segment(i), m) for i, m in cases])), rule) for rule in rules]
    score, best = max(scored)
    return best, score
