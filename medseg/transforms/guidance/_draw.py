"""Shapes drawn into voxel grids, each only inside a window around it."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_boxes", "draw_discs", "draw_gaussians", "nearest_voxel", "seed_mask"]

Array = NDArray[np.float64]
GAUSS_REACH = 5.3
"""exp(-5.3^2 / 2) is below 1e-6."""


def draw_gaussians(shape: tuple[int, ...], centre: Array, sigma: Array) -> Array:
    """Largest ``exp(-½ Σ ((x - c) / sigma)²)`` of the rows of ``centre`` and ``sigma``, both ``(N, d)``."""

    def gaussian(offsets: list[Array]) -> Array:
        return reduce(np.multiply, [np.exp(-0.5 * offset**2) for offset in offsets])

    return _draw(shape, centre, sigma, GAUSS_REACH, gaussian)


def draw_discs(shape: tuple[int, ...], centre: Array, radius: Array) -> Array:
    """1 inside the ellipses with the given semi-axes, else 0."""

    def disc(offsets: list[Array]) -> Array:
        return (reduce(np.add, [offset**2 for offset in offsets]) <= 1).astype(np.float64)

    return _draw(shape, centre, radius, 1.0, disc)


def draw_boxes(shape: tuple[int, ...], centre: Array, extent: Array) -> Array:
    """1 inside the boxes with the given half sides, else 0; a box without extent is one voxel."""
    voxel = np.maximum(extent, 0.5)
    return _draw(shape, centre, voxel, 1.0, lambda offsets: np.ones([offset.size for offset in offsets]))


def _draw(
    shape: tuple[int, ...], centre: Array, scale: Array, reach: float, value: Callable[[list[Array]], Array]
) -> Array:
    """Maximum over the shapes of ``value(offsets / scale)`` on the window of ``reach`` scales around each centre."""
    out = np.zeros(shape)
    for at, by in zip(centre, scale, strict=True):
        first = np.clip(np.ceil(at - reach * by), 0, shape).astype(int)
        last = np.clip(np.floor(at + reach * by) + 1, 0, shape).astype(int)
        if (first >= last).any():
            continue
        offsets = [(np.arange(a, b) - c) / s for a, b, c, s in zip(first, last, at, by, strict=True)]
        window = out[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
        np.maximum(window, value(list(np.ix_(*offsets))), out=window)
    return out


def nearest_voxel(points: Array) -> NDArray[np.int64]:
    """The voxel that contains a point: voxel i contains i - ½ <= x < i + ½."""
    voxels: NDArray[np.int64] = np.floor(points + 0.5).astype(np.int64)
    return voxels


def seed_mask(shape: tuple[int, ...], points: Array) -> NDArray[np.bool_]:
    """Mask of the voxels that contain a point; points outside of the grid are ignored."""
    mask = np.zeros(shape, bool)
    voxels = nearest_voxel(points)
    inside = ((voxels >= 0) & (voxels < np.asarray(shape))).all(axis=1)
    mask[tuple(voxels[inside].T)] = True
    return mask
