"""Which annotations of different readers show the same nodule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from medseg.datasets.lidc.records import Annotation

__all__ = ["cluster_annotations"]


def cluster_annotations(
    annotations: Sequence[Annotation], pixel_spacing_mm: tuple[float, float], tolerance_mm: float | None = None
) -> list[list[int]]:
    """Group annotations whose outlines come close to each other.

    Two annotations are linked if any two of their outline points lie within the tolerance, measured in millimetres in
    all three directions; groups are the connected components. Annotations known to be of the same reader are never
    linked directly.

    Args:
        annotations: outlined nodules of one scan.
        pixel_spacing_mm: distance between columns (x) and between rows (y).
        tolerance_mm: None takes the larger pixel spacing.

    Returns:
        Groups of indices into ``annotations``, each ascending, ordered by their first member.
    """
    if not annotations:
        return []
    tolerance = max(pixel_spacing_mm) if tolerance_mm is None else tolerance_mm
    clouds = [_points_mm(annotation, pixel_spacing_mm) for annotation in annotations]
    owner = np.repeat(np.arange(len(clouds)), [len(cloud) for cloud in clouds])
    # A hair of slack: neighbours exactly one pixel apart must not depend on rounding.
    pairs = cKDTree(np.concatenate(clouds)).query_pairs(tolerance * (1 + 1e-9), output_type="ndarray")
    links = np.unique(owner[pairs], axis=0) if len(pairs) else np.zeros((0, 2), dtype=np.intp)
    readers = np.array([annotation.reader for annotation in annotations])
    links = links[(readers[links[:, 0]] != readers[links[:, 1]]) | (readers[links[:, 0]] == 0)]
    size = len(annotations)
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        groups.setdefault(int(label), []).append(index)
    return list(groups.values())


def _points_mm(annotation: Annotation, pixel_spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    return np.concatenate(
        [
            np.column_stack([contour.points * pixel_spacing_mm, np.full(len(contour.points), contour.z_mm)])
            for contour in annotation.contours
        ]
    )
