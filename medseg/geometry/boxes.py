"""Boxes of voxels in patient millimetres and back, by the edges of the voxels and not by their centres."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.frames import WorldFrame, voxel_to_world, world_to_voxel

__all__ = ["VoxelBox", "WorldBox", "box_to_voxel", "box_to_world"]

_HALF_VOXEL = 0.5
_ROUNDING_VOX = 1e-4


class VoxelBox(NamedTuple):
    """A block of voxels, half-open as Python's slices.

    Attributes:
        start: first index along every array axis.
        stop: index after the last.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The block as an index of an array ``[i, j, k]``."""
        i, j, k = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return i, j, k


class WorldBox(NamedTuple):
    """A box along the axes of the world.

    Attributes:
        lower_mm: smallest coordinates, shape (3,).
        upper_mm: largest coordinates, shape (3,).
    """

    lower_mm: NDArray[np.float64]
    upper_mm: NDArray[np.float64]


def box_to_world(box: VoxelBox, affine_ras: ArrayLike, frame: WorldFrame) -> WorldBox:
    """The smallest world box that holds a block of voxels with their full extent.

    A voxel reaches half a voxel beyond its centre on every side: a single voxel of 2 mm becomes a box of 2 mm, not a
    point. For axes that are not parallel to the world's the box is larger than the block.

    Args:
        box: the voxels.
        affine_ras: 4 x 4, voxel to RAS mm.
        frame: frame of the result.

    Raises:
        ValueError: if the block is empty along an axis, or for an unknown frame.
    """
    if any(stop <= start for start, stop in zip(box.start, box.stop, strict=True)):
        raise ValueError(f"box {box.start} to {box.stop} holds no voxel, expected stop above start along every axis")
    edges = np.array([box.start, box.stop], dtype=np.float64) - _HALF_VOXEL
    corners = voxel_to_world(_corners(edges), affine_ras, frame)
    return WorldBox(corners.min(axis=0), corners.max(axis=0))


def box_to_voxel(box: WorldBox, affine_ras: ArrayLike, frame: WorldFrame) -> VoxelBox:
    """The smallest block of voxels that covers a world box.

    Touching a voxel's face within a ten-thousandth of a voxel does not count as entering it, so that
    ``box_to_voxel(box_to_world(box))`` is ``box`` for every affine without oblique axes. The block is not cut to an
    image: indices may be negative.

    Args:
        box: the world box in mm.
        affine_ras: 4 x 4, voxel to RAS mm.
        frame: the frame of ``box``.

    Raises:
        ValueError: if an upper coordinate is not above the lower one, or for an unknown frame.
    """
    edges = np.array([box.lower_mm, box.upper_mm], dtype=np.float64)
    if edges.shape != (2, 3) or not np.all(edges[1] > edges[0]):
        raise ValueError(f"box {edges.tolist()} is empty, expected upper_mm above lower_mm along every axis")
    corners = world_to_voxel(_corners(edges), affine_ras, frame) + _HALF_VOXEL
    start = np.floor(corners.min(axis=0) + _ROUNDING_VOX).astype(int).tolist()
    stop = np.ceil(corners.max(axis=0) - _ROUNDING_VOX).astype(int).tolist()
    return VoxelBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _corners(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The eight corners of the box between two opposite ones, shape (8, 3)."""
    return np.array([[edges[side, axis] for axis, side in enumerate(sides)] for sides in product((0, 1), repeat=3)])
