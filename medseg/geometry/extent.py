"""Grids on one lattice: the same voxel positions, a different extent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from medseg.geometry.regrid import SAME_GRID_MM

__all__ = ["lattice_shift"]


def lattice_shift(
    affine: ArrayLike, shape: Sequence[int], reference_affine: ArrayLike, tolerance_mm: float = SAME_GRID_MM
) -> tuple[int, int, int] | None:
    """How many voxels a grid is shifted on the lattice of a reference grid, or None if it lies on another lattice.

    Args:
        affine: 4 x 4 affine of the grid, voxel to mm.
        shape: its three lengths.
        reference_affine: affine of the reference in the same world frame; its axes must run in the same order
            and directions.
        tolerance_mm: largest distance of a corner voxel from the voxel of the lattice that it falls on.

    Returns:
        The index, in the reference grid, of the grid's first voxel; negative where it begins outside.
    """
    source, target = np.asarray(affine, np.float64), np.asarray(reference_affine, np.float64)
    relative = np.linalg.inv(target) @ source  # voxel of the grid to voxel of the reference
    shift = np.rint(relative[:3, 3])
    snapped = np.eye(4)
    snapped[:3, 3] = shift
    corners = np.array([[*corner, 1] for corner in product(*((0, n - 1) for n in shape))], np.float64)
    off = np.linalg.norm((target @ (snapped - relative) @ corners.T)[:3], axis=0).max()
    return (int(shift[0]), int(shift[1]), int(shift[2])) if off <= tolerance_mm else None
