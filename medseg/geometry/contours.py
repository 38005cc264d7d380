"""Pixel masks of closed outlines with whole-number vertices, with an explicit rule for the pixels on the outline."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BORDER_RULES", "BorderRule", "PatchMask", "fill_outline"]

BorderRule = Literal["exclude", "include"]
BORDER_RULES: tuple[str, ...] = get_args(BorderRule)


class PatchMask(NamedTuple):
    """A mask of a small box within a larger array.

    Attributes:
        start: index of the box's first pixel along every axis.
        mask: bool array of the box.
    """

    start: tuple[int, ...]
    mask: NDArray[np.bool_]


def fill_outline(points_xy: ArrayLike, border: BorderRule = "exclude") -> PatchMask:
    """Pixels enclosed by a polygon whose vertices are pixel centres.

    The polygon is closed from its last vertex to its first if it is not closed already; where it crosses itself the
    even-odd rule decides. *Outline pixels* are those whose centre is a vertex or lies exactly on an edge.

    Args:
        points_xy: vertices ``(n, 2)`` as whole numbers (x = column, y = row).
        border: "exclude" leaves the outline pixels out, "include" adds them.

    Returns:
        The mask ``[x, y]`` of the outline's bounding box.

    Raises:
        ValueError: for vertices that are not whole numbers, no vertices, or an unknown rule.
    """
    from skimage.measure import grid_points_in_poly

    if border not in BORDER_RULES:
        raise ValueError(f"border is {border!r}, expected one of {', '.join(BORDER_RULES)}")
    exact = np.asarray(points_xy)
    points = np.rint(exact).astype(np.int64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or np.any(points != exact):
        raise ValueError(f"an outline needs whole-number points of shape (n, 2), got shape {exact.shape}")
    start = points.min(axis=0)
    local = points - start
    size = local.max(axis=0) + 1
    edge = _outline_pixels(local, size)
    mask = edge if len(points) < 3 else (grid_points_in_poly(tuple(size), local, binarize=False) == 1) & ~edge
    if border == "include":
        mask = mask | edge
    elif len(points) < 3:
        mask = np.zeros_like(edge)
    return PatchMask((int(start[0]), int(start[1])), mask)


def _outline_pixels(points: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Vertices and every pixel centre exactly on an edge, including the closing one."""
    edge = np.zeros(tuple(size), dtype=bool)
    edge[points[:, 0], points[:, 1]] = True
    steps = np.diff(points, axis=0, append=points[:1])
    if np.abs(steps).max() <= 1:
        return edge  # every vertex is a neighbour of the next
    parts = np.gcd(steps[:, 0], steps[:, 1])
    for index in np.flatnonzero(parts > 1):
        inner = points[index] + np.arange(1, parts[index])[:, None] * (steps[index] // parts[index])
        edge[inner[:, 0], inner[:, 1]] = True
    return edge
