"""Put an array on another grid that holds the same physical points in another axis order or direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.affine import Affine, corner_displacement_mm, orientation_codes, spacing_of

__all__ = ["SAME_GRID_MM", "Reordering", "closest_ras", "find_reordering"]

SAME_GRID_MM = 0.01
"""Two grids are the same if no corner voxel moves by more than this many millimetres."""


class Reordering(NamedTuple):
    """How an array's axes are permuted and flipped to match another grid.

    Attributes:
        axes: source axis for every target axis.
        flips: whether the target axis runs in the opposite direction of its source axis.
        displacement_mm: largest distance between corner voxels after re-ordering; infinite if the shapes differ.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    displacement_mm: float

    @property
    def is_identity(self) -> bool:
        """True if nothing is permuted or flipped."""
        return self.axes == (0, 1, 2) and not any(self.flips)

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Re-order an array of three axes."""
        moved: NDArray[Any] = array.transpose(self.axes)
        return moved[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def affine(self, affine: ArrayLike, shape: Sequence[int]) -> Affine:
        """Affine of the re-ordered array, given affine and shape of the source: no point moves in millimetres."""
        return _reordered_affine(np.asarray(affine, np.float64), shape, self.axes, self.flips)

    def inverse(self) -> Reordering:
        """The re-ordering that undoes this one."""
        axes, flips = [0, 0, 0], [False, False, False]
        for target, source in enumerate(self.axes):
            axes[source], flips[source] = target, self.flips[target]
        return Reordering((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]), self.displacement_mm)

    def describe(self) -> str:
        """The re-ordering in words, e.g. ``"axes (0, 1, 2), flipped (1,)"``."""
        return f"axes {self.axes}, flipped {tuple(axis for axis in range(3) if self.flips[axis])}"


def find_reordering(
    affine: ArrayLike, shape: Sequence[int], target_affine: ArrayLike, target_shape: Sequence[int]
) -> Reordering:
    """The axis order and directions that bring a grid closest to a target grid, by the affines alone.

    Args:
        affine: 4 x 4 affine of the source grid, voxel to mm.
        shape: its three lengths.
        target_affine: affine of the target grid in the same world frame.
        target_shape: its three lengths.

    Returns:
        The re-ordering; its ``displacement_mm`` says how far the re-ordered grid still is from the target.
    """
    source, target = np.asarray(affine, np.float64), np.asarray(target_affine, np.float64)
    relative = np.linalg.inv(source[:3, :3]) @ target[:3, :3]  # column t: step in source voxels along target axis t
    axes, flips = [0, 0, 0], [False, False, False]
    free_source, free_target = {0, 1, 2}, {0, 1, 2}
    while free_target:
        pairs = ((s, t) for s in free_source for t in free_target)
        s, t = max(pairs, key=lambda pair: abs(relative[pair]))
        axes[t], flips[t] = s, bool(relative[s, t] < 0)
        free_source.remove(s)
        free_target.remove(t)
    moved = _reordered_affine(source, shape, axes, flips)
    same_shape = tuple(shape[s] for s in axes) == tuple(target_shape)
    displacement = corner_displacement_mm(moved, target, target_shape) if same_shape else float("inf")
    return Reordering((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]), displacement)


def closest_ras(affine_ras: ArrayLike, shape: Sequence[int]) -> Reordering:
    """The axis order and directions in which an array's axes run closest to Right, Anterior, Superior.

    Nothing is resampled: an oblique grid stays oblique, and ``displacement_mm`` is 0.

    Args:
        affine_ras: 4 x 4, voxel to RAS mm.
        shape: the array's three lengths.

    Raises:
        ValueError: for a matrix that is not an invertible 4 x 4 affine, or a shape without three lengths.
    """
    spacing_of(affine_ras)  # refuses what is not an affine
    if len(shape) != 3:
        raise ValueError(f"shape is {tuple(shape)}, expected three lengths")
    codes = orientation_codes(affine_ras)
    axes = [next(axis for axis in range(3) if codes[axis] in pair) for pair in ("LR", "PA", "IS")]
    flips = [codes[axis] in "LPI" for axis in axes]
    return Reordering((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]), 0.0)


def _reordered_affine(affine: Affine, shape: Sequence[int], axes: Sequence[int], flips: Sequence[bool]) -> Affine:
    step = np.zeros((4, 4))
    step[3, 3] = 1.0
    for target, (source, flip) in enumerate(zip(axes, flips, strict=True)):
        step[source, target] = -1.0 if flip else 1.0
        step[source, 3] = shape[source] - 1 if flip else 0
    return affine @ step
