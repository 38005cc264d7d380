"""Small random building blocks shared by the abdomen and the chest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from medseg.datasets.phantom.grid import Grid
from medseg.datasets.phantom.shapes import Blob, Capsule, Shape, Waves
from medseg.geometry import Affine

__all__ = ["isocentre", "jitter", "moved", "random_blob", "streams", "tube"]


def streams(seed: int, count: int) -> list[np.random.Generator]:
    """Independent random streams of one seed, so that noise never changes the anatomy.

    Raises:
        ValueError: for a negative seed.
    """
    if int(seed) != seed or seed < 0:
        raise ValueError(f"seed is {seed}, expected an integer of at least 0")
    return [np.random.default_rng(child) for child in np.random.SeedSequence(int(seed)).spawn(count)]


def jitter(rng: np.random.Generator, centre: ArrayLike, spread_mm: float) -> NDArray[np.float64]:
    """A position uniformly distributed in a cube of half-width ``spread_mm`` around ``centre``."""
    return np.asarray(centre, np.float64) + rng.uniform(-spread_mm, spread_mm, 3)


def random_blob(
    rng: np.random.Generator,
    centre_mm: ArrayLike,
    semi_axes_mm: ArrayLike,
    *,
    tilt_deg: float = 8.0,
    size_spread: float = 0.08,
    bumps: float = 0.05,
    frequency: float = 2.2,
) -> Blob:
    """An ellipsoid with random tilt, size and smooth bumps.

    Args:
        rng: source of randomness.
        centre_mm: centre, RAS mm.
        semi_axes_mm: mean semi-axes along x, y, z before the tilt.
        tilt_deg: standard deviation of the tilt around each axis, degrees.
        size_spread: largest relative change of each semi-axis.
        bumps: root mean square relative change of the radius.
        frequency: mean wave number of the bumps on the unit sphere.
    """
    rotation = Rotation.from_euler("xyz", rng.normal(scale=max(tilt_deg, 0.0), size=3), degrees=True).as_matrix()
    axes = np.asarray(semi_axes_mm, np.float64) * rng.uniform(1 - size_spread, 1 + size_spread, 3)
    return Blob(np.asarray(centre_mm, np.float64), axes, rotation, Waves.random(rng, 6, frequency, bumps))


def tube(path_mm: ArrayLike, radius_mm: float | Sequence[float]) -> list[Shape]:
    """Capsules along a polyline.

    Args:
        path_mm: corner points, shape ``(n, 3)``, RAS mm.
        radius_mm: one radius, or one for each corner.
    """
    path = np.asarray(path_mm, np.float64)
    radii = np.broadcast_to(np.asarray(radius_mm, np.float64), (len(path),))
    ends = zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True)
    return [Capsule(a, b, float(ra), float(rb)) for a, b, ra, rb in ends]


def isocentre(rng: np.random.Generator) -> NDArray[np.float64]:
    """Where the body's centre lies in the scanner's frame (RAS mm): never at the origin, as in real scans."""
    return np.round(rng.uniform([-12.0, -25.0, -600.0], [12.0, 25.0, 600.0]), 2)


def moved(grid: Grid, shift_mm: NDArray[np.float64]) -> Affine:
    """The affine (voxel to RAS mm) of a grid after moving patient and grid together by ``shift_mm``."""
    affine = grid.affine_ras.copy()
    affine[:3, 3] += shift_mm
    return affine
