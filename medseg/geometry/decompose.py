"""Affines split into spacing, rotation and shear, and straight grids for sheared volumes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.affine import Affine, apply_affine, direction_of, spacing_of

__all__ = ["AffineParts", "Grid", "decompose", "straight_grid"]

_ROUNDING_VOX = 1e-3


class AffineParts(NamedTuple):
    """An affine as ``rotation @ shear @ diag(spacing_mm)`` and an origin.

    Attributes:
        spacing_mm: voxel spacing along the array axes: the lengths of the affine's columns.
        rotation: the orthonormal 3 x 3 matrix closest to the axis directions; its determinant is -1 where the array
            axes are left-handed in the world.
        shear: the symmetric positive 3 x 3 factor of the polar decomposition; the identity where the axes are
            perpendicular.
        shear_deg: largest departure from 90 degrees of the angle between two array axes.
        origin_mm: world position of voxel (0, 0, 0).
    """

    spacing_mm: NDArray[np.float64]
    rotation: NDArray[np.float64]
    shear: NDArray[np.float64]
    shear_deg: float
    origin_mm: NDArray[np.float64]

    def compose(self) -> Affine:
        """The affine that these parts make."""
        affine = np.eye(4)
        affine[:3, :3] = self.rotation @ self.shear * self.spacing_mm
        affine[:3, 3] = self.origin_mm
        return affine


class Grid(NamedTuple):
    """A regular grid of voxels.

    Attributes:
        affine: 4 x 4, voxel to mm.
        shape: number of voxels along the array axes.
    """

    affine: Affine
    shape: tuple[int, int, int]


def decompose(affine: ArrayLike) -> AffineParts:
    """Split an affine into its parts by the polar decomposition of its axis directions.

    The polar decomposition gives the nearest rotation in the least-squares sense, whatever the order of the axes; the
    spacing is taken from the columns first, since a header's own spacing field may contradict them.

    Raises:
        ValueError: for a matrix that is not an invertible 4 x 4 affine.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    direction = direction_of(matrix)
    left, singular, right = np.linalg.svd(direction)
    cosines = [float(direction[:, a] @ direction[:, b]) for a, b in combinations(range(3), 2)]
    return AffineParts(
        spacing_mm=spacing_of(matrix),
        rotation=left @ right,
        shear=right.T @ np.diag(singular) @ right,
        shear_deg=max(abs(float(np.degrees(np.arcsin(np.clip(cosine, -1.0, 1.0))))) for cosine in cosines),
        origin_mm=matrix[:3, 3].copy(),
    )


def straight_grid(affine: ArrayLike, shape: Sequence[int]) -> Grid:
    """The grid with perpendicular axes that holds every voxel centre of a sheared grid.

    It has the nearest rotation's axes and the same spacing, and starts at the smallest coordinates along them. ITK
    based tools refuse sheared volumes; resampling onto this grid makes them readable without losing a corner. A grid
    without shear is returned unchanged.

    Args:
        affine: 4 x 4, voxel to mm.
        shape: number of voxels along the three array axes.

    Raises:
        ValueError: for a matrix that is not an affine.
    """
    parts = decompose(affine)
    corners = np.array(list(product(*[(0, n - 1) for n in shape[:3]])), dtype=np.float64)
    along = apply_affine(affine, corners) @ parts.rotation / parts.spacing_mm  # in steps of the straight axes
    lower, upper = along.min(axis=0), along.max(axis=0)
    # A thousandth of a voxel beyond the last centre is rounding of the header, not a further row.
    size = np.maximum(np.ceil(upper - lower - _ROUNDING_VOX), 0).astype(int) + 1
    straight = np.eye(4)
    straight[:3, :3] = parts.rotation * parts.spacing_mm
    straight[:3, 3] = parts.rotation @ (lower * parts.spacing_mm)
    return Grid(straight, (int(size[0]), int(size[1]), int(size[2])))
