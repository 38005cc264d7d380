"""Planar contours: from patient millimetres to a slice of an image and back, and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.frames import WorldFrame, voxel_to_world, world_to_voxel

__all__ = ["SliceContour", "contour_to_slice", "contour_to_world", "fill_contour"]


class SliceContour(NamedTuple):
    """A closed polygon on one slice of an image.

    Attributes:
        axis: the array axis that the slice is perpendicular to.
        slice_index: the slice's index along it.
        points_vox: vertices ``(n, 2)`` along the two other array axes in their order, fractional voxel indices.
    """

    axis: int
    slice_index: int
    points_vox: NDArray[np.float64]


def contour_to_slice(
    points_mm: ArrayLike, affine_ras: ArrayLike, frame: WorldFrame, axis: int = 2, tolerance_vox: float = 0.1
) -> SliceContour:
    """Find the slice that a planar contour lies on, and the contour's voxel positions within it.

    Args:
        points_mm: vertices ``(n, 3)`` in mm.
        affine_ras: 4 x 4, voxel to RAS mm.
        frame: the frame of ``points_mm``; DICOM's contours are "LPS".
        axis: array axis perpendicular to the slices.
        tolerance_vox: how far a vertex may lie off the slice, in voxels along ``axis``.

    Raises:
        ValueError: for fewer than three vertices, or if they do not lie on one slice.
    """
    points = world_to_voxel(points_mm, affine_ras, frame)
    if points.ndim != 2 or len(points) < 3:
        raise ValueError(f"a contour needs at least three points of shape (n, 3), got shape {points.shape}")
    if axis not in (0, 1, 2):
        raise ValueError(f"axis is {axis}, expected 0, 1 or 2")
    along = points[:, axis]
    index = int(np.rint(along.mean()))
    off = float(np.abs(along - index).max())
    if off > tolerance_vox:
        raise ValueError(
            f"contour lies at {along.min():.3f} to {along.max():.3f} along array axis {axis}, up to {off:.3f} voxels "
            f"off slice {index}, expected at most {tolerance_vox}; check frame {frame!r}, the axis and the affine"
        )
    return SliceContour(axis, index, np.delete(points, axis, axis=1))


def contour_to_world(contour: SliceContour, affine_ras: ArrayLike, frame: WorldFrame) -> NDArray[np.float64]:
    """The vertices ``(n, 3)`` in mm of a contour on a slice, the inverse of :func:`contour_to_slice`.

    Args:
        contour: the polygon and its slice.
        affine_ras: 4 x 4, voxel to RAS mm.
        frame: frame of the result.
    """
    points = np.insert(np.asarray(contour.points_vox, np.float64), contour.axis, contour.slice_index, axis=1)
    return voxel_to_world(points, affine_ras, frame)


def fill_contour(points_vox: ArrayLike, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Mask of the voxels whose centre lies within a polygon with fractional vertices.

    The polygon is closed from its last vertex to its first; where it crosses itself the even-odd rule decides. Parts
    outside the slice are cut off. For vertices that are voxel centres, where it matters whether the outline belongs to
    the object, use :func:`medseg.geometry.contours.fill_outline`, which makes the rule explicit.

    Args:
        points_vox: vertices ``(n, 2)`` along the axes of the slice.
        shape: the slice's two lengths.

    Returns:
        bool mask of ``shape``.

    Raises:
        ValueError: for fewer than three vertices.
    """
    from skimage.measure import grid_points_in_poly

    points = np.asarray(points_vox, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError(f"a polygon needs at least three points of shape (n, 2), got shape {points.shape}")
    mask: NDArray[np.bool_] = grid_points_in_poly((int(shape[0]), int(shape[1])), points)
    return mask
