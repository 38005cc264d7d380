"""Groups of annotations: which annotations of different readers show the same nodule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from medseg.datasets.lidc.records import Annotation

__all__ = ["LEAST_TOLERANCE", "MOST_MEMBERS", "cluster_annotations", "grouped", "nearest_distances"]

MOST_MEMBERS = 4
"""Annotations that a nodule can have: four readers saw every scan."""
LEAST_TOLERANCE = 0.1
"""Tolerances are not lowered beyond this value."""
_FACTOR = 0.9


def cluster_annotations(
    annotations: Sequence[Annotation], pixel_spacing_mm: tuple[float, float], tolerance_mm: float | None = None
) -> list[list[int]]:
    """Group annotations whose outlines come close to each other.

    Two annotations are linked if any two of their outline points lie within the tolerance, measured in millimetres in
    all three directions; groups are the connected components. Annotations known to be of the same reader are never
    linked directly. While a group has more than four members, the tolerance of the whole scan shrinks by a tenth, down
    to 0.1 mm; larger groups that remain are left as they are.

    Distances are compared as float64 without a tolerance for rounding. Where the nearest points are exactly one pixel
    apart and the spacing is not a binary fraction, rounding decides: in the whole database this separates one pair of
    annotations (LIDC-IDRI-0707) that would otherwise be one nodule.

    Args:
        annotations: outlined nodules of one scan.
        pixel_spacing_mm: distance between columns (x) and between rows (y).
        tolerance_mm: None takes the larger pixel spacing.

    Returns:
        Groups of indices into ``annotations``, each ascending, ordered by their first member.

    >>> import numpy as np
    >>> from medseg.datasets.lidc import Contour
    >>> def square(reader: int, corner: int) -> Annotation:
    ...     points = np.array([[corner, corner], [corner + 6, corner], [corner + 6, corner + 6], [corner, corner + 6]])
    ...     return Annotation(reader, "A", {}, (Contour(-120.0, points),))
    >>> cluster_annotations([square(1, 10), square(2, 11), square(3, 200)], (0.7, 0.7), tolerance_mm=2.0)
    [[0, 1], [2]]
    """
    if not annotations:
        return []
    tolerance = max(pixel_spacing_mm) if tolerance_mm is None else tolerance_mm
    distance = nearest_distances([_points_mm(item, pixel_spacing_mm) for item in annotations], tolerance)
    readers = np.array([annotation.reader for annotation in annotations])
    distance[(readers[:, None] == readers) & (readers > 0)] = np.inf
    return grouped(distance, tolerance)[0]


def grouped(distance: NDArray[np.float64], tolerance: float) -> tuple[list[list[int]], float]:
    """Connected components of all pairs within a tolerance; it is lowered while a component has more than four members.

    Args:
        distance: symmetric ``(n, n)`` with n >= 1.
        tolerance: the largest distance that links, in the unit of ``distance``.

    Returns:
        Groups of indices, ordered by first member, and the last tolerance used.
    """
    labels = _components(distance, tolerance)
    lowered = tolerance * _FACTOR
    while np.bincount(labels).max() > MOST_MEMBERS and lowered >= LEAST_TOLERANCE:
        tolerance, lowered = lowered, lowered * _FACTOR
        labels = _components(distance, tolerance)
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        groups.setdefault(int(label), []).append(index)
    return list(groups.values()), float(tolerance)


def nearest_distances(clouds: Sequence[NDArray[np.float64]], limit: float) -> NDArray[np.float64]:
    """Distance between the nearest points of every pair of point clouds.

    Args:
        clouds: points ``(n, 3)`` of every member.
        limit: pairs whose bounding boxes alone are further apart get infinity.

    Returns:
        Symmetric matrix with a zero diagonal.
    """
    low = np.array([cloud.min(axis=0) for cloud in clouds])
    high = np.array([cloud.max(axis=0) for cloud in clouds])
    distance = np.full((len(clouds), len(clouds)), np.inf)
    np.fill_diagonal(distance, 0.0)
    trees: dict[int, cKDTree] = {}
    apart = low[:, None] - high[None]
    gaps = np.linalg.norm(np.maximum(0.0, np.maximum(apart, apart.transpose(1, 0, 2))), axis=2)
    # A small tolerance: rounding of the gap between boxes must not remove a pair that lies exactly at the limit.
    for a, b in np.argwhere(np.triu(gaps <= limit * (1 + 1e-9), 1)).tolist():
        if a not in trees:
            # Not balanced: see `medseg.metrics.surfaces`; a median split does not end where torch flushes tiny numbers.
            trees[a] = cKDTree(clouds[a], balanced_tree=False)
        distance[a, b] = distance[b, a] = trees[a].query(clouds[b])[0].min()
    return distance


def _components(distance: NDArray[np.float64], tolerance: float) -> NDArray[np.int32]:
    return np.asarray(connected_components(distance <= tolerance, directed=False)[1])


def _points_mm(annotation: Annotation, pixel_spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    return np.concatenate(
        [
            np.column_stack([contour.points * pixel_spacing_mm, np.full(len(contour.points), contour.z_mm)])
            for contour in annotation.contours
        ]
    )
