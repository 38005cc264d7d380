"""Closed polygons along the pixel borders of a planar mask, and the same mask from these polygons, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.contours import PatchMask

__all__ = ["HoleStyle", "fill_even_odd", "trace_pixel_borders"]

HoleStyle = Literal["keyhole", "separate"]
"""How a hole is drawn: joined to the outer border by a channel of zero width, or as a separate polygon."""

# Directions along the lattice of pixel corners in counter-clockwise order, so that +1 is a left turn.
_STEPS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])


class _Border(NamedTuple):
    """One closed walk along the lattice: every corner passed, the component it bounds, and on which side that lies."""

    corners: NDArray[np.int64]
    component: int
    is_hole: bool


def trace_pixel_borders(mask: ArrayLike, holes: HoleStyle = "keyhole") -> list[NDArray[np.float64]]:
    """Polygons along the outlines of a mask's pixels.

    Vertices lie on pixel corners, half a pixel off the centres, so the polygons enclose exactly the pixels' area and
    no centre lies on an edge: filled by the even-odd rule they give the mask back, and a rounding of far less than
    half a pixel changes nothing. Pixels that touch only at a corner belong to different polygons.

    Args:
        mask: bool ``[x, y]``.
        holes: "keyhole" gives one polygon for each connected part, with every hole joined to it by a channel that is
            passed in both directions (the only form that DICOM's ``CLOSED_PLANAR`` allows); "separate" gives a polygon
            for each outer border (counter-clockwise in x, y) and each hole (clockwise).

    Returns:
        Polygons ``(n, 2)`` in pixel indices, not repeating the first vertex, without vertices on straight stretches.

    Raises:
        ValueError: if the mask does not have two axes, or for an unknown style.
    """
    from scipy import ndimage

    full = np.asarray(mask, dtype=bool)
    if full.ndim != 2:
        raise ValueError(f"mask has shape {full.shape}, expected two axes")
    if holes not in get_args(HoleStyle):
        raise ValueError(f"holes is {holes!r}, expected one of {', '.join(get_args(HoleStyle))}")
    if not full.any():
        return []
    (x0, x1), (y0, y1) = (np.flatnonzero(full.any(axis=1 - axis))[[0, -1]] for axis in (0, 1))
    part = full[x0 : x1 + 1, y0 : y1 + 1]
    components = ndimage.label(part)[0]  # pixels that share an edge
    borders = _walk_borders(part, components)
    walks = [border.corners for border in borders] if holes == "separate" else _join_holes(borders)
    offset = np.array([x0 - 0.5, y0 - 0.5])
    return [_without_straight(walk) + offset for walk in walks]


def fill_even_odd(points: ArrayLike, shape: Sequence[int]) -> PatchMask:
    """Pixels whose centre lies within a polygon by the even-odd rule; parts outside the slice are cut off.

    A centre exactly on an edge belongs to the polygon on the side of larger x, or for edges along x of larger y, so
    polygons that share an edge never both claim a pixel. Edges that are passed once in each direction cancel exactly.

    Args:
        points: vertices ``(n, 2)`` in pixel indices, n >= 3; the last is joined to the first.
        shape: the slice's two lengths.

    Returns:
        The mask ``[x, y]`` of the polygon's bounding box within the slice (empty if it lies outside).

    Raises:
        ValueError: for fewer than three vertices or numbers that are not finite.
    """
    vertices = np.asarray(points, dtype=np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 2 or len(vertices) < 3 or not np.all(np.isfinite(vertices)):
        raise ValueError(f"a polygon needs at least three finite points of shape (n, 2), got shape {vertices.shape}")
    limit = np.asarray(shape[:2])
    lower = np.clip(np.floor(vertices.min(axis=0)), 0, limit).astype(np.int64)
    upper = np.clip(np.ceil(vertices.max(axis=0)) + 1, lower, limit).astype(np.int64)
    size = upper - lower
    toggles = np.zeros((size[0] + 1, size[1]), dtype=np.uint8)
    x, y = _crossings(vertices - lower, int(size[1]))
    np.bitwise_xor.at(toggles, (np.clip(np.ceil(x), 0, size[0]).astype(np.int64), y), 1)
    inside = np.bitwise_xor.accumulate(toggles[:-1], axis=0).astype(bool)
    return PatchMask((int(lower[0]), int(lower[1])), inside)


def _crossings(vertices: NDArray[np.float64], rows: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where the edges cross the lines y = 0, 1 ... rows - 1: x positions, and the y of each."""
    ends = np.roll(vertices, -1, axis=0)
    # From the lower to the upper end, so that an edge gives the same number to the last bit in both directions.
    upward = (ends[:, 1] > vertices[:, 1])[:, None]
    low, high = np.where(upward, vertices, ends), np.where(upward, ends, vertices)
    first = np.clip(np.ceil(low[:, 1]), 0, rows).astype(np.int64)
    stop = np.clip(np.ceil(high[:, 1]), 0, rows).astype(np.int64)
    counts = np.maximum(stop - first, 0)
    edge = np.repeat(np.arange(len(vertices)), counts)
    y = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    slope = (high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1])
    return low[edge, 0] + (y - low[edge, 1]) * slope, y


def _walk_borders(mask: NDArray[np.bool_], components: NDArray[np.int32]) -> list[_Border]:
    """All closed walks along pixel corners with the mask on the left."""
    start, heading, inner = _border_edges(mask)
    end = start + _STEPS[heading]
    width = mask.shape[1] + 1
    leaving = np.full(((mask.shape[0] + 1) * width, 4), -1, dtype=np.int64)
    leaving[start[:, 0] * width + start[:, 1], heading] = np.arange(len(start))
    at = end[:, 0] * width + end[:, 1]
    following = np.full(len(start), -1, dtype=np.int64)
    # Where two pixels touch at a corner, the left turn stays with the same pixel: only edges join pixels.
    for turn in (3, 0, 1):
        candidate = leaving[at, (heading + turn) % 4]
        following = np.where(candidate >= 0, candidate, following)
    successor = following.tolist()
    seen = np.zeros(len(start), dtype=bool)
    borders = []
    for first in range(len(start)):
        if seen[first]:
            continue
        walk = [first]
        edge = successor[first]
        while edge != first:
            walk.append(edge)
            edge = successor[edge]
        seen[walk] = True
        corners = start[walk]
        borders.append(_Border(corners, int(components[tuple(inner[first])]), _signed_area(corners) < 0))
    return borders


def _border_edges(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Edges between a pixel of the mask and one outside: first corner, direction, and the pixel on the left."""
    padded = np.pad(mask, 1).astype(np.int8)
    # Corner (a, b) is the one shared by pixels (a - 1, b - 1) and (a, b).
    along_x = padded[1:-1, 1:] - padded[1:-1, :-1]  # pixel (a, b) against (a, b - 1): edge from corner (a, b) along x
    along_y = padded[1:, 1:-1] - padded[:-1, 1:-1]
    east, west = np.argwhere(along_x == 1), np.argwhere(along_x == -1)
    south, north = np.argwhere(along_y == 1), np.argwhere(along_y == -1)
    along, across = np.array([1, 0]), np.array([0, 1])
    start = np.concatenate([east, north, west + along, south + across])
    inner = np.concatenate([east, north - along, west - across, south])
    heading = np.repeat(np.arange(4), [len(east), len(north), len(west), len(south)])
    return start, heading, inner


def _signed_area(corners: NDArray[np.int64]) -> int:
    following = np.roll(corners, -1, axis=0)
    return int((corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]).sum())


def _join_holes(borders: list[_Border]) -> list[NDArray[np.int64]]:
    """One walk for each component: its outer border with the holes joined to it."""
    walks = []
    for outer in borders:
        if outer.is_hole:
            continue
        holes = [border.corners for border in borders if border.is_hole and border.component == outer.component]
        walks.append(_with_keyholes(outer.corners, holes) if holes else outer.corners)
    return walks


def _with_keyholes(outer: NDArray[np.int64], holes: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Join every hole at its leftmost corner to the first border to its left, along the pixel corners of that row.

    All pixels on both sides of the channel belong to the part, since there is no other border between the two. The
    border that is met has a smaller x, so it has been joined already.
    """
    rotated = [np.roll(hole, -int(np.lexsort((hole[:, 1], hole[:, 0]))[0]), axis=0) for hole in holes]
    rotated.sort(key=lambda hole: (int(hole[0, 0]), int(hole[0, 1])))
    corners = [(int(x), int(y)) for loop in [outer, *rotated] for x, y in loop]
    node_at = {corner: node for node, corner in enumerate(corners)}
    starts = np.cumsum([0, len(outer), *map(len, rotated)]).tolist()
    following = list(range(1, len(corners) + 1))
    for first, stop in pairwise(starts):
        following[stop - 1] = first
    for first, stop in list(pairwise(starts))[1:]:
        x, y = corners[first]
        x -= 1
        while (x, y) not in node_at:
            x -= 1
        met = node_at[x, y]
        # met -> hole's first ... hole's last -> first again -> met again -> what followed met
        corners += [corners[first], corners[met]]
        following += [len(corners) - 1, following[met]]
        following[stop - 1], following[met] = len(corners) - 2, first
    walk = [0]
    while following[walk[-1]] != 0:
        walk.append(following[walk[-1]])
    return np.array([corners[node] for node in walk], dtype=np.int64)


def _without_straight(corners: NDArray[np.int64]) -> NDArray[np.float64]:
    """Drop the corners at which the walk goes straight on."""
    before = np.sign(corners - np.roll(corners, 1, axis=0))
    after = np.sign(np.roll(corners, -1, axis=0) - corners)
    return corners[np.any(before != after, axis=1)].astype(np.float64)
