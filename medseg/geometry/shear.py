"""Slices of a tilted gantry on an upright grid: each slice is moved within its own plane, never along the normal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ShearPlan", "plan_shear", "shift_plane"]

_LEAST_PIXELS = 0.02


class ShearPlan(NamedTuple):
    """Where every slice of a tilted stack lies on one upright canvas.

    Attributes:
        shifts: pixels by which each slice is moved along the first (column) and second (row) array axis, ``(n, 2)``,
            from 0 upwards; the slice that the canvas is aligned with is moved by whole pixels.
        shape: columns and rows of the canvas: no pixel of any slice is lost.
        origin_lps: mm, centre of the canvas's first pixel in the plane of the first slice.
        largest_mm: largest distance by which one slice is moved relative to another.
    """

    shifts: NDArray[np.float64]
    shape: tuple[int, int]
    origin_lps: NDArray[np.float64]
    largest_mm: float


def plan_shear(
    positions_lps: ArrayLike, orientation: ArrayLike, pixel_spacing_mm: Sequence[float], shape: Sequence[int]
) -> ShearPlan:
    """Plan the upright canvas of a tilted stack: its third axis is the slice normal.

    Args:
        positions_lps: ImagePositionPatient of every slice, sorted along the normal, ``(n, 3)``.
        orientation: six direction cosines, row direction then column direction.
        pixel_spacing_mm: DICOM order: distance between rows, then between columns.
        shape: columns and rows of the slices.
    """
    positions = np.asarray(positions_lps, np.float64)
    plane = np.asarray(orientation, np.float64).reshape(2, 3)
    pixel = np.array([pixel_spacing_mm[1], pixel_spacing_mm[0]], np.float64)
    offsets = (positions - positions[0]) @ plane.T / pixel
    offsets[:, np.ptp(offsets, axis=0) < _LEAST_PIXELS] = 0.0
    corner = np.floor(offsets.min(axis=0) + 1e-6)
    shifts = np.maximum(offsets - corner, 0.0)
    added = np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
    origin = positions[0] + (corner * pixel) @ plane
    largest = float(np.linalg.norm(np.ptp(offsets, axis=0) * pixel))
    return ShearPlan(shifts, (int(shape[0] + added[0]), int(shape[1] + added[1])), origin, largest)


def shift_plane(
    plane: NDArray[np.generic], shift: ArrayLike, shape: tuple[int, int], fill: float
) -> NDArray[np.float32]:
    """Move a plane on a larger canvas by a number of pixels, interpolated linearly; all around it becomes ``fill``.

    Args:
        plane: values, two axes.
        shift: pixels along both axes, 0 or more.
        shape: shape of the canvas, at least the plane's plus the shift.
        fill: value beyond the plane's edges.
    """
    moved = np.asarray(plane, np.float32)
    for axis, amount in enumerate(np.asarray(shift, np.float64)):
        whole = int(np.floor(amount + 1e-6))
        part = max(float(amount) - whole, 0.0)
        if part > 1e-6:
            edge = np.full_like(np.take(moved, [0], axis=axis), fill)
            before = np.concatenate([moved, edge], axis=axis)
            after = np.concatenate([edge, moved], axis=axis)
            moved = (before + np.float32(part) * (after - before)).astype(np.float32)
        canvas_shape = list(moved.shape)
        canvas_shape[axis] = shape[axis]
        canvas = np.full(canvas_shape, fill, np.float32)
        place = [slice(None), slice(None)]
        place[axis] = slice(whole, whole + moved.shape[axis])
        canvas[tuple(place)] = moved
        moved = canvas
    return moved
