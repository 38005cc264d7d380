"""Whether a label belongs to an image index by index or by the headers, decided by the tissue under the label."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import apply_affine

__all__ = ["LIVER_HU", "AlignmentEvidence", "measure_alignment"]

LIVER_HU = (40.0, 180.0)
"""Plausible HU of liver with or without contrast medium, both ends included."""

_LEAST_FRACTION = 0.5
_LEAST_DIFFERENCE = 0.1


class AlignmentEvidence(NamedTuple):
    """How plausible the tissue under a liver label is for both interpretations of its position.

    Attributes:
        index_fraction: share of the label's voxels with liver-like HU if both arrays are compared index by index; None
            if their shapes differ.
        world_fraction: the same if every label voxel is placed in mm by the headers; voxels outside the image count as
            implausible.
        index_dice: Dice of the label and all liver-like voxels of the image, index by index; None as above.
        world_dice: the same by the headers.

    >>> AlignmentEvidence(0.95, 0.30, 0.80, 0.25).verdict
    'index'
    """

    index_fraction: float | None
    world_fraction: float
    index_dice: float | None
    world_dice: float

    @property
    def verdict(self) -> Literal["index", "world", "undecided"]:
        """The right interpretation: plausible for at least half of the voxels, and for a tenth more than the other."""
        index = -1.0 if self.index_fraction is None else self.index_fraction
        best, other = max(index, self.world_fraction), min(index, self.world_fraction)
        if best < _LEAST_FRACTION or best - max(other, 0.0) < _LEAST_DIFFERENCE:
            return "undecided"
        return "index" if index > self.world_fraction else "world"

    def describe(self) -> str:
        """The measurement in words, for messages."""
        index = "impossible" if self.index_fraction is None else f"{self.index_fraction:.0%}"
        low, high = LIVER_HU
        return (
            f"of the labelled voxels {index} have {low:g} to {high:g} HU index by index and {self.world_fraction:.0%} "
            "by the headers"
        )


def measure_alignment(
    image: NDArray[Any], affine_ras: ArrayLike, label: NDArray[Any], label_affine_ras: ArrayLike
) -> AlignmentEvidence:
    """Measure the tissue under a liver label, index by index and by the headers.

    A liver label on the wrong side of the body covers spleen, stomach, air and fat, so fewer of its voxels have
    liver-like HU. If both interpretations give similar tissue, the verdict is "undecided".

    Args:
        image: HU ``[i, j, k]``.
        affine_ras: 4 x 4 of the image, voxel to RAS mm.
        label: values above 0 are liver or tumour; any shape of three axes.
        label_affine_ras: 4 x 4 of the label.

    Raises:
        ValueError: if the label is empty, or a matrix is not an affine.

    >>> image = np.full((20, 20, 20), -1000, np.int16)
    >>> image[12:18, 5:15, 5:15] = 100
    >>> label = (image > 0).astype(np.uint8)
    >>> mirrored = np.diag([-1.0, 1.0, 1.0, 1.0])
    >>> mirrored[0, 3] = 19
    >>> measure_alignment(image, np.eye(4), label, mirrored).verdict
    'index'
    """
    voxels = np.argwhere(label > 0)
    if not len(voxels):
        raise ValueError("the label is empty, expected liver voxels to compare with the image")
    plausible = (image >= LIVER_HU[0]) & (image <= LIVER_HU[1])
    total = int(np.count_nonzero(plausible))
    to_image = np.linalg.inv(np.asarray(affine_ras, np.float64)) @ np.asarray(label_affine_ras, np.float64)
    placed = np.rint(apply_affine(to_image, voxels)).astype(np.int64)
    by_world = _hits(plausible, placed)
    by_index = _hits(plausible, voxels) if label.shape == image.shape else None
    return AlignmentEvidence(
        None if by_index is None else by_index / len(voxels),
        by_world / len(voxels),
        None if by_index is None else 2.0 * by_index / (len(voxels) + total),
        2.0 * by_world / (len(voxels) + total),
    )


def _hits(plausible: NDArray[np.bool_], voxels: NDArray[np.int64]) -> int:
    inside = np.all((voxels >= 0) & (voxels < plausible.shape), axis=1)
    i, j, k = voxels[inside].T
    return int(np.count_nonzero(plausible[i, j, k]))
