"""The grouping of annotations that the pylidc package makes, for results that are compared with published ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.datasets.lidc.clusters import grouped, nearest_distances
from medseg.datasets.lidc.records import Annotation

__all__ = ["PylidcGroups", "cluster_like_pylidc"]


class PylidcGroups(NamedTuple):
    """A grouping and how far its tolerance had to be lowered.

    Attributes:
        groups: indices into the annotations, each group ascending, ordered by first member.
        tolerance: the last tolerance used, in the mixed unit of ``cluster_like_pylidc``.
    """

    groups: list[list[int]]
    tolerance: float


def cluster_like_pylidc(
    annotations: Sequence[Annotation], slice_z_mm: ArrayLike, slice_thickness_mm: float
) -> PylidcGroups:
    """Group annotations as pylidc 0.2.3 does with its default settings.

    Two annotations are linked if their nearest outline points ``(row, column, slice index)`` are at most a tolerance
    apart. That distance counts *pixels and slices*, while the tolerance starts at the slice thickness in *millimetres*:
    a scan with thick slices joins annotations that stay separate in a scan with thin slices, for every pixel size.
    While a group of the scan has more than four members, the tolerance of the whole scan shrinks by a tenth; below 0.1
    it stays as it is and the large group remains. Readers are not distinguished. Prefer ``cluster_annotations``, which
    measures in millimetres.

    Args:
        annotations: outlined nodules of one scan.
        slice_z_mm: z of every slice of the complete series.
        slice_thickness_mm: SliceThickness as recorded in the DICOM header.

    Returns:
        The groups and the tolerance that made them.

    Raises:
        ValueError: if the thickness is not a positive number, or there are annotations but no slices.

    >>> import numpy as np
    >>> from medseg.datasets.lidc import Contour
    >>> point = np.array([[10, 10]])
    >>> annotations = [Annotation(0, "A", {}, (Contour(z, point),)) for z in (0.0, 2.5, 50.0)]
    >>> cluster_like_pylidc(annotations, slice_z_mm=np.arange(0, 60, 2.5), slice_thickness_mm=2.5).groups
    [[0, 1], [2]]
    """
    if not np.isfinite(slice_thickness_mm) or slice_thickness_mm <= 0:
        raise ValueError(f"slice_thickness_mm is {slice_thickness_mm}, expected a positive number of millimetres")
    if not annotations:
        return PylidcGroups([], slice_thickness_mm)
    positions = np.sort(np.asarray(slice_z_mm, np.float64))
    if not len(positions):
        raise ValueError("slice_z_mm is empty, so the outlines have no slice index; give the z of the series' slices")
    distance = nearest_distances([_index_points(item, positions) for item in annotations], slice_thickness_mm)
    return PylidcGroups(*grouped(distance, slice_thickness_mm))


def _index_points(annotation: Annotation, slice_z_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    parts = [
        np.column_stack([c.points, np.full(len(c.points), np.abs(slice_z_mm - c.z_mm).argmin())])
        for c in annotation.contours
    ]
    return np.concatenate(parts).astype(np.float64)
