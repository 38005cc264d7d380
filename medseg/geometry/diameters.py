"""Longest diameter of a planar mask and the longest one perpendicular to it, as a reader draws them on a slice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PlanarDiameters", "longest_diameter_mm", "planar_diameters"]

_CHUNK = 1 << 20  # numbers held at a time while chords are compared


class PlanarDiameters(NamedTuple):
    """Two diameters of a planar shape.

    Attributes:
        long_mm: largest distance of two points of the outline.
        short_mm: longest chord perpendicular to it.
        long_ends: the two ends of the first, ``(2, 2)`` in pixel indices (whole numbers are centres).
        short_ends: those of the second.
    """

    long_mm: float
    short_mm: float
    long_ends: NDArray[np.float64]
    short_ends: NDArray[np.float64]


def planar_diameters(mask: ArrayLike, steps_mm: ArrayLike) -> PlanarDiameters:
    """Measure a mask on one slice.

    The outline passes through the middles of the pixel edges between inside and outside (marching squares at the level
    0.5, as `skimage.measure.find_contours` draws it), so a row of n pixels along an axis is n pixels long and a single
    pixel is one pixel long. Measured on digitised discs of 6 to 30 mm, the long diameter is on average 0.5 to 0.8
    pixels more than the disc's, because it is the largest over all directions; with outer pixel corners it would be 1
    pixel. Both lines join two points of the outline; between them they may leave a shape that is not convex, or that
    has several parts. Of equal lines the first one found is given.

    Args:
        mask: bool ``[x, y]``.
        steps_mm: the step of each array axis: two lengths for perpendicular axes, or two columns ``(3, 2)`` of an
            affine, which may be oblique or sheared.

    Raises:
        ValueError: if the mask does not have two axes, is empty, or the steps have another shape.

    >>> found = planar_diameters(np.ones((3, 4), bool), (1.0, 1.0))
    >>> round(found.long_mm, 3), round(found.short_mm, 3)
    (4.472, 3.354)
    """
    inside = _checked(mask)
    to_mm = _to_mm(steps_mm)
    long_ends = _farthest_pair(_extreme_points(inside), to_mm)
    along = (long_ends[1] - long_ends[0]) @ to_mm
    long_mm = float(np.hypot(*along))
    short_ends = _longest_chord(_outline(inside), to_mm, along / long_mm)
    short_mm = float(np.hypot(*((short_ends[1] - short_ends[0]) @ to_mm)))
    return PlanarDiameters(long_mm, short_mm, long_ends, short_ends)


def longest_diameter_mm(mask: ArrayLike, steps_mm: ArrayLike) -> float:
    """The first of the two diameters of `planar_diameters` alone, in less time; same arguments and errors.

    >>> round(longest_diameter_mm(np.ones((3, 4), bool), (1.0, 1.0)), 3)
    4.472
    """
    inside, to_mm = _checked(mask), _to_mm(steps_mm)
    first, second = _farthest_pair(_extreme_points(inside), to_mm)
    return float(np.hypot(*((second - first) @ to_mm)))


def _checked(mask: ArrayLike) -> NDArray[np.bool_]:
    inside = np.asarray(mask, dtype=bool)
    if inside.ndim != 2 or not inside.any():
        raise ValueError(f"mask has shape {inside.shape} and {int(inside.sum())} pixels; expected two axes and a pixel")
    return inside


def _to_mm(steps_mm: ArrayLike) -> NDArray[np.float64]:
    """A matrix that takes index differences to planar coordinates in mm with the same lengths and angles."""
    steps = np.asarray(steps_mm, dtype=np.float64)
    if steps.shape == (2,):
        return np.diag(steps)
    if steps.shape != (3, 2):
        raise ValueError(f"steps_mm has shape {steps.shape}, expected (2,) or (3, 2)")
    return np.asarray(np.linalg.cholesky(steps.T @ steps))


def _extreme_points(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Middles of the edges of the first and the last pixel of each row: they include all corners of the convex hull."""
    rows = np.flatnonzero(inside.any(axis=1)).astype(np.float64)
    part = inside[inside.any(axis=1)]
    first = part.argmax(axis=1).astype(np.float64)
    last = inside.shape[1] - 1.0 - part[:, ::-1].argmax(axis=1)
    places = [(0.0, first - 0.5), (0.0, last + 0.5)]
    places += [(shift, column) for shift in (-0.5, 0.5) for column in (first, last)]
    return np.concatenate([np.stack([rows + shift, column], axis=1) for shift, column in places])


def _farthest_pair(points: NDArray[np.float64], to_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two points with the largest distance; they are corners of the convex hull."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import cdist

    corners = points[np.sort(ConvexHull(points).vertices)]
    distances = cdist(corners @ to_mm, corners @ to_mm, "sqeuclidean")
    return corners[list(np.unravel_index(int(distances.argmax()), distances.shape))]


def _outline(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Segments of the outline by marching squares, ``(n, 2, 2)``: both ends in pixel indices.

    A square has four pixel centres as corners. Its sides whose two ends differ are crossed in the middle: two of them,
    which a segment joins, or all four, where two segments leave a way between the diagonal pixels inside.
    """
    padded = np.pad(inside, 1)
    a, b, c, d = padded[:-1, :-1], padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]
    sides = np.stack([a != b, a != c, b != d, c != d])
    middles = np.array([[0.5, 0.0], [0.0, 0.5], [1.0, 0.5], [0.5, 1.0]]) - 1.0  # the padding shifts indices by 1
    saddle = sides.all(axis=0)
    found = []
    for first, second, corner in ((0, 1, a), (0, 2, b), (1, 3, c), (2, 3, d), (0, 3, None), (1, 2, None)):
        joined = sides[first] & sides[second] & ~saddle
        if corner is not None:
            joined |= saddle & ~corner
        at = np.argwhere(joined)
        found.append(np.stack([at + middles[first], at + middles[second]], axis=1))
    return np.concatenate(found)


def _longest_chord(
    edges: NDArray[np.float64], to_mm: NDArray[np.float64], along: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ends, in pixel indices, of the longest chord perpendicular to the unit vector ``along`` (in mm).

    Between two neighbouring corners the length of the chord changes linearly, so the longest one passes through a
    corner.
    """
    across = np.array([-along[1], along[0]])
    place, height = edges @ to_mm @ along, edges @ to_mm @ across  # (n, 2) each: both ends of each edge
    order = np.argsort(place, axis=1)
    (near, far), (low, high) = (np.take_along_axis(values, order, axis=1).T for values in (place, height))
    slack = 1e-9 * float(np.abs(place).max() + 1)
    span = far - near
    upright = span <= slack
    slope = np.where(upright, 0.0, (high - low) / np.where(upright, 1.0, span))
    top_of_upright, bottom_of_upright = np.maximum(low, high), np.minimum(low, high)
    stations = np.unique(place)
    best = (-1.0, 0.0, 0.0, 0.0)
    for part in np.array_split(stations, -(-stations.size * near.size // _CHUNK)):
        t = part[:, None]
        crossed = (near - slack <= t) & (t <= far + slack)
        heights = low + slope * np.clip(t - near, 0.0, span)
        top = np.where(crossed, np.where(upright, top_of_upright, heights), -np.inf).max(axis=1)
        bottom = np.where(crossed, np.where(upright, bottom_of_upright, heights), np.inf).min(axis=1)
        n = int((top - bottom).argmax())
        best = max(
            best, (float(top[n] - bottom[n]), float(part[n]), float(bottom[n]), float(top[n])), key=lambda b: b[0]
        )
    ends = [best[1] * along + height * across for height in best[2:]]
    return np.asarray(np.stack(ends) @ np.linalg.inv(to_mm))
