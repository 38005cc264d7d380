"""Points between voxel indices and patient millimetres, with the world frame always named."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.affine import Affine, apply_affine, flip_lps_ras

__all__ = ["WorldFrame", "voxel_to_world", "world_affine", "world_to_voxel"]

WorldFrame = Literal["RAS", "LPS"]
"""Frame of world points in mm: "RAS" (NIfTI, MONAI) or "LPS" (DICOM, ITK, LIDC, LUNA16)."""


def world_affine(affine_ras: ArrayLike, frame: WorldFrame) -> Affine:
    """The affine from voxels to the given world frame.

    Args:
        affine_ras: 4 x 4, voxel to RAS mm.
        frame: "RAS" or "LPS".

    Raises:
        ValueError: for an unknown frame or a matrix that is not an invertible 4 x 4 affine.
    """
    if frame not in get_args(WorldFrame):
        raise ValueError(f"frame is {frame!r}, expected 'RAS' (NIfTI, MONAI) or 'LPS' (DICOM, ITK)")
    affine = np.asarray(affine_ras, dtype=np.float64)
    return flip_lps_ras(affine) if frame == "LPS" else affine


def voxel_to_world(points_vox: ArrayLike, affine_ras: ArrayLike, frame: WorldFrame) -> NDArray[np.float64]:
    """World positions in mm of voxel positions.

    Args:
        points_vox: voxel indices ``(..., 3)`` in array order, whole or fractional; voxel centres are whole numbers.
        affine_ras: 4 x 4, voxel to RAS mm.
        frame: the frame of the result.

    Returns:
        float64 points of the same shape.

    Raises:
        ValueError: for an unknown frame, points without three coordinates, or a matrix that is not an affine.
    """
    return apply_affine(world_affine(affine_ras, frame), points_vox)


def world_to_voxel(points_mm: ArrayLike, affine_ras: ArrayLike, frame: WorldFrame) -> NDArray[np.float64]:
    """Fractional voxel indices of world positions, the inverse of :func:`voxel_to_world`.

    Args:
        points_mm: world positions ``(..., 3)`` in mm.
        affine_ras: 4 x 4, voxel to RAS mm.
        frame: the frame of ``points_mm``.

    Returns:
        float64 points ``(..., 3)`` in array order; round them to get the voxel that holds the point.

    Raises:
        ValueError: for an unknown frame, points without three coordinates, or a matrix that is not an affine.
    """
    affine = world_affine(affine_ras, frame)
    apply_affine(affine, np.zeros(3))  # refuses what is not an affine before it is inverted
    return apply_affine(np.linalg.inv(affine), points_mm)
