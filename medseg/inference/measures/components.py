"""The connected components of a class: their sizes, and each one in its own bounding box."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.geometry import component_sizes, components_of_points

__all__ = ["Component", "Components", "find_components"]

# Where fewer than one voxel in 100 of its box is set, the voxels alone are looked at: in a tenth of the time.
_SPARSE = 100


class Component(NamedTuple):
    """One component.

    Attributes:
        inside: bool, in its bounding box.
        first: first voxel index of that box.
    """

    inside: NDArray[np.bool_]
    first: NDArray[np.int64]


class Components(NamedTuple):
    """All components of a mask; voxels that share a face, an edge or a corner belong to one (26 neighbours).

    Attributes:
        sizes: number of voxels of each.
        points: indices ``(n, 3)`` of all voxels, where there are few of them; else None.
        numbers: the component of each point, from 0; or an array of component numbers from 1, 0 outside.
    """

    sizes: NDArray[np.int64]
    points: NDArray[np.int64] | None
    numbers: NDArray[Any]

    def largest(self, limit: int) -> Iterator[Component]:
        """The components one by one, the largest first (of equals the one whose voxels come first)."""
        order = np.argsort(-self.sizes, kind="stable")[:limit]
        if self.points is not None:
            members = np.argsort(self.numbers, kind="stable")
            ends = np.cumsum(self.sizes)
            for which in order:
                mine = self.points[members[ends[which] - self.sizes[which] : ends[which]]]
                first = mine.min(axis=0)
                inside = np.zeros(mine.max(axis=0) - first + 1, bool)
                inside[tuple((mine - first).T)] = True
                yield Component(inside, first)
            return
        boxes = ndimage.find_objects(self.numbers)
        for which in order:
            box = boxes[which]
            yield Component(self.numbers[box] == which + 1, np.array([part.start for part in box]))


def find_components(inside: NDArray[np.bool_]) -> Components:
    """The components of a mask in its bounding box.

    Args:
        inside: bool, with at least one voxel set.

    >>> inside = np.zeros((4, 4, 4), bool)
    >>> inside[0, 0, 0] = inside[1, 1, 1] = inside[3, 3, 3] = True
    >>> found = find_components(inside)
    >>> found.sizes.tolist(), [component.first.tolist() for component in found.largest(2)]
    ([2, 1], [[0, 0, 0], [3, 3, 3]])
    """
    if int(np.count_nonzero(inside)) * _SPARSE < inside.size:
        points = np.argwhere(inside)
        numbers = components_of_points(points, inside.shape)
        return Components(np.bincount(numbers), points, numbers)
    numbers, count = ndimage.label(inside, structure=np.ones((3, 3, 3), bool))
    return Components(component_sizes(numbers, count), None, numbers)
