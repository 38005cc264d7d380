"""Sampling grids, and finding the voxels inside and near a continuous shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.datasets.phantom.shapes import Floats, Shape
from medseg.geometry import Affine, apply_affine, make_affine, orientation_codes, spacing_of

__all__ = ["Box", "Grid", "Sampled", "make_grid", "sample_shape"]

Box = tuple[slice, slice, slice]

_BLOCK = 4
# Signed values are first-order distance estimates; bands around surfaces are widened by these factors, the more so the
# further away the decision is made.
_TRUST_BLOCK, _TRUST_VOXEL = 1.5, 1.2


class Grid(NamedTuple):
    """Voxel centres in patient space.

    Attributes:
        shape: voxels along the array axes ``i, j, k``.
        affine_ras: 4 x 4, voxel to RAS mm.
    """

    shape: tuple[int, int, int]
    affine_ras: Affine

    @property
    def half_diagonal_mm(self) -> float:
        """Distance from a voxel's centre to its corner in mm."""
        return float(np.linalg.norm(spacing_of(self.affine_ras))) / 2.0

    def positions(self, indices: Sequence[ArrayLike]) -> Floats:
        """RAS mm of index triples: three equally shaped arrays in, float32 ``(3, n)`` out."""
        matrix = self.affine_ras
        result = np.empty((3, np.size(indices[0])), np.float32)
        i, j, k = (np.ravel(np.asarray(index)).astype(np.float32) for index in indices)
        for axis in range(3):
            a, b, c, origin = matrix[axis].astype(np.float32)
            result[axis] = a * i + b * j + c * k + origin
        return result

    def box_of(self, bounds: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Box | None:
        """Index box around an axis-aligned box in mm, one voxel wider; None if it misses the grid."""
        corners = np.array([[bounds[(n >> axis) & 1][axis] for axis in range(3)] for n in range(8)])
        voxels = apply_affine(np.linalg.inv(self.affine_ras), corners)
        low = np.clip(np.floor(voxels.min(axis=0)) - 1, 0, self.shape).astype(int)
        high = np.clip(np.ceil(voxels.max(axis=0)) + 2, 0, self.shape).astype(int)
        if np.any(high <= low):
            return None
        return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


class Sampled(NamedTuple):
    """A shape seen from a grid, inside one index box.

    Attributes:
        box: the slices of the box.
        inside: bool, voxel centres inside the shape.
        near: bool, voxels that the shape's surface (or soft rim) may cross.
    """

    box: Box
    inside: NDArray[np.bool_]
    near: NDArray[np.bool_]


def make_grid(
    extent_mm: Sequence[float],
    spacing_mm: Sequence[float],
    shape: Sequence[int] | None,
    orientation: str | ArrayLike,
) -> Grid:
    """A grid centred on the origin.

    Args:
        extent_mm: default field of view along the patient's x, y, z in mm, used where ``shape`` is None.
        spacing_mm: voxel spacing along the array axes in mm.
        shape: voxels along the array axes, or None.
        orientation: three letters (``"RAS"``) or a 3 x 3 matrix with orthonormal columns.

    Raises:
        ValueError: for a matrix that is not orthonormal, or a shape that is not three positive integers.
    """
    if not isinstance(orientation, str):
        matrix = np.asarray(orientation, np.float64)
        if matrix.shape != (3, 3) or not np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-5):
            raise ValueError(f"orientation is {matrix.tolist()}, expected three letters or an orthonormal 3 x 3 matrix")
    affine = make_affine(spacing_mm, direction=orientation)
    if shape is None:
        world = {"L": 0, "R": 0, "P": 1, "A": 1, "I": 2, "S": 2}
        extents = [extent_mm[world[code]] for code in orientation_codes(affine)]
        shape = [max(1, round(extent / step)) for extent, step in zip(extents, spacing_mm, strict=True)]
    if len(shape) != 3 or any(int(n) != n or n < 1 for n in shape):
        raise ValueError(f"shape is {tuple(shape)}, expected three positive integers")
    size = (int(shape[0]), int(shape[1]), int(shape[2]))
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(size) - 1) / 2.0)
    return Grid(size, affine)


def sample_shape(shape: Shape, grid: Grid, rim_mm: float = 0.0) -> Sampled | None:
    """Find which voxel centres lie inside a shape, and which voxels its surface may cross.

    Blocks of 4 x 4 x 4 voxels are tried first; only blocks near the surface are looked at voxel by voxel.

    Args:
        shape: the continuous shape.
        grid: the grid to sample on.
        rim_mm: extra half-width of the band counted as near.

    Returns:
        The box, its inside and near masks, or None if the shape misses the grid.
    """
    low, high = shape.bounds()
    box = grid.box_of((low - rim_mm, high + rim_mm))
    if box is None:
        return None
    start = [s.start for s in box]
    size = tuple(s.stop - s.start for s in box)
    blocks = tuple(-(-n // _BLOCK) for n in size)
    steps = np.meshgrid(*[np.arange(n) for n in blocks], indexing="ij")
    middle = [step * _BLOCK + (_BLOCK - 1) / 2.0 + first for step, first in zip(steps, start, strict=True)]
    signed = shape.signed(grid.positions(middle)).reshape(blocks)
    band = _TRUST_BLOCK * grid.half_diagonal_mm * _BLOCK + rim_mm
    inside = _grow(signed < -band, size)
    near = np.zeros(size, bool)
    edge = np.nonzero(np.abs(signed) <= band)
    offsets = np.meshgrid(*[np.arange(_BLOCK)] * 3, indexing="ij")
    index = [(e[:, None] * _BLOCK + o.ravel()[None]).ravel() for e, o in zip(edge, offsets, strict=True)]
    keep = (index[0] < size[0]) & (index[1] < size[1]) & (index[2] < size[2])
    index = [axis[keep] for axis in index]
    value = shape.signed(grid.positions([axis + first for axis, first in zip(index, start, strict=True)]))
    where = (index[0], index[1], index[2])
    inside[where] = value <= 0
    near[where] = np.abs(value) <= _TRUST_VOXEL * grid.half_diagonal_mm + rim_mm
    return Sampled(box, inside, near)


def _grow(blocks: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    for axis in range(3):
        blocks = np.repeat(blocks, _BLOCK, axis=axis)
    return blocks[: size[0], : size[1], : size[2]].copy()
