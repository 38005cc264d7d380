"""Outlines of 2-D masks in the convention of the LIDC data set, exact both ways."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label

__all__ = ["Outline", "outlines_of"]


class Outline(NamedTuple):
    """One closed outline.

    Attributes:
        points: int64 ``(n, 2)``, ``(i, j)`` of the mask; neighbours touch (8-connected), the last point is the first.
        inclusion: True for a region, False for a hole in it.
    """

    points: NDArray[np.int64]
    inclusion: bool


def outlines_of(mask: NDArray[np.bool_]) -> list[Outline]:
    """Trace every region and every hole of a 2-D mask.

    Outlines run through the first pixels outside the mask: for a region (4-connected) these lie around it, for a hole
    they are the hole's own rim. So a region is what its polygon encloses without the outline, and a hole is what its
    polygon encloses together with the outline.

    Args:
        mask: bool ``[i, j]``. Points may lie one pixel outside the array.

    Returns:
        Regions first, each followed by its holes.

    Raises:
        ValueError: if a hole holds an island, which such outlines cannot express.
    """
    found: list[Outline] = []
    regions, count = label(mask)
    for value in range(1, count + 1):
        region = regions == value
        full = binary_fill_holes(region)
        found.append(Outline(_trace(full, outside=True), True))
        holes, number = label(full & ~region)
        for index in range(1, number + 1):
            hole = holes == index
            if (binary_fill_holes(hole) & mask).any():
                raise ValueError(
                    "a hole of the mask holds an island, which LIDC outlines cannot express; fill the hole"
                )
            found.append(Outline(_trace(hole, outside=False), False))
    return found


def _trace(region: NDArray[np.bool_], outside: bool) -> NDArray[np.int64]:
    """Walk once around a 4-connected region along the cracks between its pixels and the others.

    A crack is a pixel of the region and the direction out of it. Each crack gives its outer or its inner pixel.
    """
    inside = np.pad(region, 2)
    first = np.argwhere(inside)[0]
    i, j, di, dj = int(first[0]), int(first[1]), -1, 0
    start = (i, j, di, dj)
    points: list[tuple[int, int]] = []
    while True:
        point = (i + di, j + dj) if outside else (i, j)
        if not points or points[-1] != point:
            points.append(point)
        ti, tj = -dj, di
        if not inside[i + ti, j + tj]:  # convex corner: same pixel, next side
            di, dj = ti, tj
        elif not inside[i + ti + di, j + tj + dj]:  # straight on
            i, j = i + ti, j + tj
        else:  # concave corner
            i, j, di, dj = i + ti + di, j + tj + dj, -ti, -tj
        if (i, j, di, dj) == start:
            break
    if points[0] != points[-1]:
        points.append(points[0])
    return np.array(points, np.int64) - 2
