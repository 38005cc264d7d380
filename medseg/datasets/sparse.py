"""Sparse annotation made from a dense label: a few slices along each axis stay labelled, the rest is unlabelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import orientation_codes
from medseg.io.volumes.mending import value_fix

__all__ = ["SliceRange", "SparseLabel", "array_axes", "choose_slices", "sparsify"]

SliceRange = Literal["foreground", "volume"]
"""Where slices are taken from: between the first and last slice that hold a label above 0, or the whole axis."""

_LETTERS = {"x": "LR", "y": "PA", "z": "IS"}


class SparseLabel(NamedTuple):
    """A label map in which only some slices are annotated.

    Attributes:
        array: the label, with the unlabelled value outside the kept slices.
        slices: kept slice indices by array axis, ascending.
        unlabelled: the value of voxels without annotation.

    >>> import numpy as np
    >>> sparsify(np.zeros((4, 4, 8), np.uint8), {2: [1, 6]}).labelled_share
    0.25
    """

    array: NDArray[Any]
    slices: dict[int, list[int]]
    unlabelled: int

    @property
    def labelled_share(self) -> float:
        """Share of the voxels that lie on a kept slice."""
        return float(np.mean(self.array != self.unlabelled))


def array_axes(axes: str, affine_ras: ArrayLike) -> dict[str, int]:
    """The array axis that runs closest to each named axis of the patient.

    Args:
        axes: some of ``x`` (left-right: sagittal slices), ``y`` (front-back: coronal), ``z`` (along the body: axial).
        affine_ras: 4 x 4, voxel to RAS mm.

    Raises:
        ValueError: for other or repeated letters, or none.

    >>> import numpy as np
    >>> array_axes("xz", np.eye(4))
    {'x': 0, 'z': 2}
    """
    if not axes or len(set(axes)) != len(axes) or not set(axes) <= set(_LETTERS):
        raise ValueError(f"axes is {axes!r}, expected one to three different letters of 'xyz'")
    codes = orientation_codes(affine_ras)
    return {name: next(axis for axis in range(3) if codes[axis] in _LETTERS[name]) for name in axes}


def choose_slices(
    label: NDArray[Any], axis: int, count: int, within: SliceRange = "foreground", seed: int | None = None
) -> list[int]:
    """Choose the slices of one axis that stay annotated.

    Without a seed they are evenly spread: the range is cut into ``count`` equal parts and the middle slice of each is
    taken. With a seed they are drawn without repetition, all equally likely.

    Args:
        label: dense label map of three axes.
        axis: array axis that the slices are perpendicular to.
        count: number of slices.
        within: see :data:`SliceRange`; a label without foreground uses the whole axis.
        seed: seed of the draw, or None for even spacing.

    Raises:
        ValueError: for an unknown range, or more slices than the range has.

    >>> import numpy as np
    >>> choose_slices(np.zeros((4, 4, 12), np.uint8), axis=2, count=3)
    [2, 6, 10]
    """
    if within not in get_args(SliceRange):
        raise ValueError(f"within is {within!r}, expected one of {get_args(SliceRange)}")
    first, last = 0, label.shape[axis] - 1
    filled = np.flatnonzero((label > 0).any(axis=tuple(a for a in range(label.ndim) if a != axis)))
    if within == "foreground" and filled.size:
        first, last = int(filled[0]), int(filled[-1])
    length = last - first + 1
    if not 1 <= count <= length:
        raise ValueError(
            f"{count} slices were asked for along array axis {axis}, where the {within} holds {length}; ask for 1 to "
            f"{length}{', or take slices from the whole volume' if length < label.shape[axis] else ''}"
        )
    if seed is None:
        return [first + (2 * part + 1) * length // (2 * count) for part in range(count)]
    # A separate random stream for every axis: the slices of one axis do not depend on which others are requested.
    drawn = np.random.default_rng((seed, axis)).choice(length, size=count, replace=False)
    return sorted(first + int(index) for index in drawn)


def sparsify(label: NDArray[Any], slices: Mapping[int, Sequence[int]], unlabelled: int = 255) -> SparseLabel:
    """Keep some slices of a dense label and mark all other voxels as unlabelled.

    The result fits ``SparseAnnotationCrossEntropyLoss(unlabelled=...)`` and ``SparseAnnotationMask(unlabelled=...)``:
    background on a kept slice is a label like any other, all other voxels have weight 0. Source: Cicek et al., 3D
    U-Net, 2016.

    Args:
        label: dense label map of three axes, whole numbers from 0 to 255.
        slices: kept slice indices by array axis; a voxel on any of them stays labelled.
        unlabelled: value of all other voxels; must not be a label.

    Returns:
        A uint8 copy and what was kept.

    Raises:
        ValueError: if the label holds the unlabelled value or a value that is not uint8, or a slice does not exist.

    >>> import numpy as np
    >>> sparse = sparsify(np.zeros((2, 2, 4), np.uint8), {2: [1]})
    >>> sparse.array[0, 0].tolist()
    [255, 0, 255, 255]
    """
    values = np.unique(label)
    if not np.all(np.isfinite(values)) or np.any(values != np.rint(values)) or values[0] < 0 or values[-1] > 255:
        wanted = "expected whole numbers from 0 to 255"
        wanted += f"; {value_fix(values)}" if np.any(values != np.rint(values)) else ""
        raise ValueError(f"label values run from {values[0]} to {values[-1]}, {wanted}")
    if not 0 <= unlabelled <= 255 or unlabelled in values:
        used = values.astype(int).tolist()[:8]
        raise ValueError(f"the unlabelled value is {unlabelled}, expected 0 to 255 and none of the labels {used}")
    kept = np.zeros(label.shape, bool)
    for axis, indices in slices.items():
        for index in indices:
            if not (0 <= axis < label.ndim and 0 <= index < label.shape[axis]):
                raise ValueError(f"slice {index} of axis {axis} does not exist in a label of shape {label.shape}")
            np.moveaxis(kept, axis, 0)[index] = True
    array = np.where(kept, label, unlabelled).astype(np.uint8)
    return SparseLabel(array, {axis: sorted(indices) for axis, indices in slices.items()}, unlabelled)
