"""Affine algebra between voxel indices and patient millimetres.

Frames: *voxel* is the index ``(i, j, k)`` of an array, pixel centres at integers; *RAS* and *LPS* are patient
millimetres with the axes pointing to Right/Left, Anterior/Posterior, Superior. An affine is the 4 x 4 matrix that maps
homogeneous voxel indices to millimetres. NIfTI and MONAI use RAS; DICOM, ITK and LIDC use LPS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.orientation import CodeConvention, codes_to_direction, direction_to_codes

__all__ = [
    "Affine",
    "apply_affine",
    "corner_displacement_mm",
    "direction_of",
    "flip_lps_ras",
    "make_affine",
    "orientation_codes",
    "spacing_of",
    "voxel_volume_ml",
]

Affine = NDArray[np.float64]


def _as_affine(affine: ArrayLike) -> Affine:
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"affine has shape {matrix.shape}, expected (4, 4)")
    if not np.all(np.isfinite(matrix)) or abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
        raise ValueError(f"affine is not finite and invertible: {matrix.tolist()}")
    return matrix


def flip_lps_ras(affine_or_points: ArrayLike) -> NDArray[np.float64]:
    """Change the world frame between LPS and RAS (the same operation both ways).

    Args:
        affine_or_points: a 4 x 4 affine, or points in millimetres with shape ``(..., 3)``.

    Returns:
        The same affine or points with the signs of the first two world axes changed.
    """
    values = np.array(affine_or_points, dtype=np.float64)
    if values.shape == (4, 4):
        values[:2] *= -1.0
        return values
    if values.shape[-1] != 3:
        raise ValueError(f"expected a 4 x 4 affine or points with shape (..., 3), got shape {values.shape}")
    values[..., :2] *= -1.0
    return values


def apply_affine(affine: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Map points with shape ``(..., 3)`` through a 4 x 4 affine.

    Raises:
        ValueError: for a matrix that is not an invertible 4 x 4 affine, or points without three coordinates.
    """
    matrix = _as_affine(affine)
    pts = np.asarray(points, dtype=np.float64)
    if pts.shape[-1:] != (3,):
        raise ValueError(f"points have shape {pts.shape}, expected (..., 3)")
    return pts @ matrix[:3, :3].T + matrix[:3, 3]


def spacing_of(affine: ArrayLike) -> NDArray[np.float64]:
    """Voxel spacing in mm along the three array axes: the lengths of the affine's columns."""
    return np.linalg.norm(_as_affine(affine)[:3, :3], axis=0)


def direction_of(affine: ArrayLike) -> NDArray[np.float64]:
    """The 3 x 3 matrix of unit columns: the direction of each array axis in the affine's world frame."""
    matrix = _as_affine(affine)
    return matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)


def voxel_volume_ml(affine: ArrayLike) -> float:
    """Volume of one voxel in millilitres."""
    return float(abs(np.linalg.det(_as_affine(affine)[:3, :3])) / 1000.0)


def orientation_codes(affine_ras: ArrayLike, convention: CodeConvention = "to") -> tuple[str, str, str]:
    """Letters of the array axes, by default of the directions *towards* which they run, e.g. ``("R", "A", "S")``.

    Every axis gets the letter of the world axis it is closest to, each world axis being used once.

    Args:
        affine_ras: 4 x 4, voxel to RAS mm.
        convention: "to" (nibabel, MONAI) or "from" (ITK-SNAP, MetaImage), see :data:`CodeConvention`.
    """
    return direction_to_codes(direction_of(affine_ras), convention)


def make_affine(
    spacing_mm: Sequence[float],
    origin_mm: Sequence[float] = (0.0, 0.0, 0.0),
    direction: ArrayLike | str = "RAS",
) -> Affine:
    """Compose an affine.

    Args:
        spacing_mm: voxel spacing along the three array axes, positive, in mm.
        origin_mm: world position of voxel ``(0, 0, 0)``'s centre.
        direction: a 3 x 3 matrix with unit columns, or three orientation letters such as ``"LPS"`` saying towards which
            side every array axis runs (the result is then a RAS affine).

    Raises:
        ValueError: for spacings that are not positive, or letters that do not name three different axes.
    """
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    if spacing.shape != (3,) or not np.all(np.isfinite(spacing)) or np.any(spacing <= 0):
        raise ValueError(f"spacing_mm must be three positive numbers, got {list(spacing_mm)}")
    columns = codes_to_direction(direction) if isinstance(direction, str) else np.asarray(direction, np.float64)
    affine = np.eye(4)
    affine[:3, :3] = columns * spacing
    affine[:3, 3] = np.asarray(origin_mm, dtype=np.float64)
    return _as_affine(affine)


def corner_displacement_mm(affine_a: ArrayLike, affine_b: ArrayLike, shape: Sequence[int]) -> float:
    """Largest distance in mm between the positions of a grid's eight corner voxels under two affines."""
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape[:3]], indexing="ij"), axis=-1).reshape(-1, 3)
    shift = apply_affine(affine_a, corners) - apply_affine(affine_b, corners)
    return float(np.linalg.norm(shift, axis=1).max())
