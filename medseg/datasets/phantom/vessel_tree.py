"""Branching lung vessels as chains of tapering tubes."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.datasets.phantom.shapes import Capsule, Shape

__all__ = ["grow_tree"]

_SMALLEST_RADIUS_MM = 0.7
_EDGE_MM = 4.0


def grow_tree(
    rng: np.random.Generator,
    root_mm: ArrayLike,
    direction: ArrayLike,
    radius_mm: float,
    lung: Shape,
    limit: int = 90,
) -> list[Capsule]:
    """Grow one vessel tree, thickest branches first, until the branches leave the lung or get thinner than 0.7 mm.

    Each branch splits into two whose cubed radii sum up to about that of the parent (Murray's law).

    Args:
        rng: source of randomness.
        root_mm: start, RAS mm.
        direction: direction of the first branch.
        radius_mm: radius of the first branch.
        lung: region that the tree stays in, by its signed distance.
        limit: largest number of branches.
    """
    branches: list[Capsule] = []
    waiting = deque([(np.asarray(root_mm, np.float64), _unit(np.asarray(direction, np.float64)), radius_mm)])
    while waiting and len(branches) < limit:
        start, heading, radius = waiting.popleft()
        end = start + heading * rng.uniform(6.0, 9.0) * np.sqrt(radius / 0.7)
        branches.append(Capsule(start, end, radius, radius * 0.92))
        if lung.signed_at(end) > -_EDGE_MM and len(branches) > 1:
            continue
        share = rng.uniform(0.35, 0.65)
        bend = rng.normal(size=3)
        bend = _unit(bend - heading * float(bend @ heading))
        for part, sign in ((share, 1.0), (1.0 - share, -1.0)):
            thinner = radius * 0.95 * float(np.cbrt(part))
            # The thinner branch turns away more.
            turned = _unit(heading + sign * bend * rng.uniform(0.6, 1.1) * (1.0 - part))
            if thinner >= _SMALLEST_RADIUS_MM:
                waiting.append((end, turned, thinner))
    return branches


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)
