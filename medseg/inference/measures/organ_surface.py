"""The surface of an organ with the lesions in it, and the distance of a lesion to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from medseg.geometry import Affine, apply_affine

__all__ = ["OrganSurface"]


class OrganSurface:
    """The outer surface of one class of a mask, of which lesions are parts.

    The organ is the class together with the lesions that are joined to it, its holes filled. Beyond the image nothing
    is known: a border of the image is not a surface.

    Args:
        mask: labels ``[i, j, k]``.
        organ: the label of the organ; it is present.
        name: of the organ.
        lesions: labels of lesion classes.
        affine_ras: 4 x 4, voxel to RAS mm, with perpendicular axes.

    >>> mask = np.zeros((20, 20, 20), np.uint8)
    >>> mask[2:18, 2:18, 2:18] = 1
    >>> mask[6:8, 9:11, 9:11] = 2
    >>> surface = OrganSurface(mask, 1, "liver", [2], np.diag([0.5, 1.0, 1.0, 1.0]))
    >>> surface.distance_mm(np.ones((2, 2, 2), bool), np.array([6, 9, 9]))
    2.0
    """

    def __init__(
        self, mask: NDArray[Any], organ: int, name: str, lesions: Sequence[int], affine_ras: ArrayLike
    ) -> None:
        self.name = name
        self._mask, self._organ = mask, organ
        self._affine: Affine = np.asarray(affine_ras, dtype=np.float64)
        members = (organ, *lesions)
        box = _box_of(mask, members)
        region = _filled(_parts_with(np.isin(mask[box], members), mask[box] == organ))
        shell = region & ~_eroded(region)
        first = np.array([part.start for part in box])
        self._points = apply_affine(self._affine, np.argwhere(shell) + first)
        self._tree: Any = None

    def contact(self, inside: NDArray[np.bool_], first: NDArray[np.int64]) -> int:
        """How many voxels of the organ's own class touch a lesion by a face, an edge or a corner.

        Args:
            inside: the lesion in its bounding box.
            first: first voxel index of that box.
        """
        low = np.maximum(first - 1, 0)
        high = np.minimum(first + inside.shape + 1, self._mask.shape)
        around = self._mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] == self._organ
        grown = np.pad(inside, 1)
        grown = ~_eroded(~grown)
        cut = low - (first - 1)
        part = grown[tuple(slice(c, c + n) for c, n in zip(cut, around.shape, strict=True))]
        return int(np.count_nonzero(around & part))

    def distance_mm(self, inside: NDArray[np.bool_], first: NDArray[np.int64]) -> float | None:
        """Smallest distance in mm from a voxel of the lesion to a voxel outside the organ, from face to face.

        It is 0 for a lesion that reaches the surface, and None where the organ has no surface in the image.

        Args:
            inside: the lesion in its bounding box.
            first: first voxel index of that box.
        """
        from scipy.spatial import cKDTree
        from scipy.spatial.distance import cdist

        if not self._points.size:
            return None
        if self._tree is None:
            # Not balanced: to split at a median, SciPy adds the smallest number to a zero, for ever where torch
            # flushes it.
            self._tree = cKDTree(self._points, balanced_tree=False)
        border = inside & ~_eroded(np.pad(inside, 1))[1:-1, 1:-1, 1:-1]
        # Every voxel outside, grown by one voxel in all directions, is as far from a centre as the gap between the
        # two voxels: the shell of the organ's own voxels that have a neighbour outside is what comes closest.
        points = apply_affine(self._affine, np.argwhere(border) + first)
        some = points[:: max(1, len(points) // 64)]
        known, _ = self._tree.query(some)
        best = float(known.min())
        for part in np.array_split(points, -(-len(points) // 1024)):
            # A step of 1 mm changes the distance by 1 mm at most: most points cannot come closer than the best so far.
            close = part[(known - cdist(part, some)).max(axis=1) < best]
            if len(close):
                distances, _ = self._tree.query(close, distance_upper_bound=best)
                best = min(best, float(distances.min()))
        return best


def _box_of(mask: NDArray[Any], members: Sequence[int]) -> tuple[slice, ...]:
    """The bounding box of some labels with one voxel around it, within the image."""
    found = ndimage.find_objects(mask, max_label=max(members))
    boxes = [found[label - 1] for label in members if found[label - 1] is not None]
    ranges = [(min(b[a].start for b in boxes), max(b[a].stop for b in boxes)) for a in range(mask.ndim)]
    return tuple(slice(max(0, low - 1), min(n, high + 1)) for (low, high), n in zip(ranges, mask.shape, strict=True))


def _parts_with(region: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts of a region (26 neighbours) that hold a seed."""
    parts, count = ndimage.label(region, structure=np.ones((3, 3, 3), bool))
    kept = np.zeros(count + 1, bool)
    kept[parts[seeds]] = True
    return np.asarray(kept[parts])


def _filled(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The region without holes: what is not joined by faces to the outside of the array belongs to it."""
    parts, _ = ndimage.label(np.pad(~region, 1, constant_values=True))
    return np.asarray(parts[1:-1, 1:-1, 1:-1] != parts[0, 0, 0])


def _eroded(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels whose 26 neighbours are all set; what lies beyond the array counts as set."""
    core = region.copy()
    for axis in range(region.ndim):
        before = core.copy()
        low, high = [slice(None)] * region.ndim, [slice(None)] * region.ndim
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        core[tuple(low)] &= before[tuple(high)]
        core[tuple(high)] &= before[tuple(low)]
    return core
