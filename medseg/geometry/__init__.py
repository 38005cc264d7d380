"""Affines, frames and grids in pure NumPy: no torch, no files."""

from __future__ import annotations

from medseg.geometry.affine import (
    Affine,
    apply_affine,
    corner_displacement_mm,
    direction_of,
    flip_lps_ras,
    make_affine,
    orientation_codes,
    spacing_of,
    voxel_volume_ml,
)

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
