"""Linear resampling between two grids whose axes are parallel: one short list of neighbours and weights an axis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.affine import Affine

__all__ = ["AxisMap", "AxisNeighbours", "axis_map", "axis_neighbours"]

_WIDEST_COUPLING_VOXELS = 1e-3


class AxisMap(NamedTuple):
    """Index on a source grid = ``scale`` x index on a target grid + ``shift``, axis by axis.

    Attributes:
        scale: voxels of the source in a step of the target, above 0, one number an axis.
        shift: source index of the target's first voxel, one number an axis.
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    def inverse(self) -> AxisMap:
        """The map from source indices to target indices.

        >>> AxisMap(np.array([2.0]), np.array([0.5])).inverse()
        AxisMap(scale=array([0.5]), shift=array([-0.25]))
        """
        return AxisMap(1 / self.scale, -self.shift / self.scale)


class AxisNeighbours(NamedTuple):
    """The two source voxels of every target voxel along one axis.

    Attributes:
        lower: index of the first neighbour, int64.
        upper: index of the second neighbour; the same as ``lower`` at the border.
        weight: share of the second neighbour, float32, from 0 to below 1.
    """

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    weight: NDArray[np.float32]


def axis_map(source_affine: ArrayLike, target_affine: ArrayLike, target_shape: ArrayLike) -> AxisMap | None:
    """How the indices of two grids with parallel axes belong together.

    Args:
        source_affine: (D + 1) x (D + 1), voxel to mm.
        target_affine: the same for the target grid, in the same world frame.
        target_shape: voxels of the target grid along its D axes.

    Returns:
        None if the axes are not parallel or not in the same order: if, somewhere on the target grid, an index along one
        axis moves the place along another by more than 0.001 voxel of the source.

    >>> import numpy as np
    >>> found = axis_map(np.diag([1.0, 1.0, 2.0, 1.0]), np.diag([3.0, 3.0, 3.0, 1.0]), (10, 10, 10))
    >>> found.scale.tolist(), found.shift.tolist()
    ([3.0, 3.0, 1.5], [0.0, 0.0, 0.0])
    """
    source: Affine = np.asarray(source_affine, dtype=np.float64)
    between = np.linalg.solve(source, np.asarray(target_affine, dtype=np.float64))
    matrix, shift = between[:-1, :-1], between[:-1, -1]
    scale = np.diag(matrix).copy()
    coupling = np.abs(matrix - np.diag(scale)) @ np.asarray(target_shape, dtype=np.float64)
    if (scale <= 0).any() or not (coupling <= _WIDEST_COUPLING_VOXELS).all():
        return None
    return AxisMap(scale, shift.copy())


def axis_neighbours(count: int, source_count: int, scale: float, shift: float, nearest: bool = False) -> AxisNeighbours:
    """Neighbours and weights of every voxel along an axis; beyond the border the last voxel is repeated.

    Args:
        count: voxels of the target along the axis.
        source_count: voxels of the source along the axis.
        scale: source voxels in a step of the target.
        shift: source index of the target's first voxel.
        nearest: take the closest voxel alone, the even one of two at equal distance.

    >>> lower, upper, weight = axis_neighbours(4, 2, 0.5, -0.25)
    >>> lower.tolist(), upper.tolist(), weight.tolist()
    ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.0])
    """
    place = np.clip(np.arange(count) * scale + shift, 0, source_count - 1)
    if nearest:
        closest = np.rint(place).astype(np.int64)
        return AxisNeighbours(closest, closest, np.zeros(count, np.float32))
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, source_count - 1)
    return AxisNeighbours(lower, upper, (place - lower).astype(np.float32))
