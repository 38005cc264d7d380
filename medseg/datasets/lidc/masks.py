"""An annotation's outlines as a voxel mask on the CT grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.datasets.lidc.records import Annotation, Contour
from medseg.geometry.contours import BorderRule, PatchMask, fill_outline
from medseg.io.bounded.errors import DataError

__all__ = ["SLICE_TOLERANCE_MM", "AnnotationMask", "annotation_mask", "match_slices"]

SLICE_TOLERANCE_MM = 0.1
"""A contour belongs to the slice whose z differs from the contour's by at most this distance."""


class AnnotationMask(NamedTuple):
    """One annotation on the grid.

    Attributes:
        patch: bool box ``[i, j, k]`` and its start.
        absent_z_mm: z of contours that have no slice in the CT.
    """

    patch: PatchMask
    absent_z_mm: tuple[float, ...]


def match_slices(z_mm: ArrayLike, slice_z_mm: ArrayLike) -> NDArray[np.int64]:
    """Index of the slice at each z, matched in millimetres; -1 where no slice lies within ``SLICE_TOLERANCE_MM``."""
    slices = np.asarray(slice_z_mm, np.float64)
    distance = np.abs(np.asarray(z_mm, np.float64)[:, None] - slices[None, :])
    nearest = distance.argmin(axis=1)
    return np.where(distance[np.arange(len(nearest)), nearest] <= SLICE_TOLERANCE_MM, nearest, -1)


def annotation_mask(
    annotation: Annotation, slice_z_mm: ArrayLike, size_xy: tuple[int, int], border: BorderRule = "exclude"
) -> AnnotationMask:
    """Rasterise one annotation.

    Inclusion contours are united first, then exclusion contours are removed together with their own outline; the order
    in the source does not matter. In this data set an outline runs through the first pixels outside the nodule, so
    "exclude" follows its definition; "include" adds the outline pixels of inclusion contours. Slices between
    contours are not filled.

    Args:
        annotation: the outlines.
        slice_z_mm: z of every CT slice k, LPS mm.
        size_xy: number of columns and rows of the CT.
        border: rule for the pixels of inclusion outlines.

    Raises:
        DataError: if an outline leaves the image.

    >>> ring = np.array([[10, 10], [16, 10], [16, 16], [10, 16]])
    >>> drawn = Annotation(1, "A", {}, (Contour(5.0, ring),))
    >>> found = annotation_mask(drawn, slice_z_mm=[0.0, 2.5, 5.0], size_xy=(64, 64))
    >>> found.patch.start, int(found.patch.mask.sum())
    ((10, 10, 2), 25)
    """
    contours = annotation.contours
    slices = match_slices([contour.z_mm for contour in contours], slice_z_mm)
    absent = tuple(sorted({c.z_mm for c, k in zip(contours, slices, strict=True) if k < 0}))
    present = [(contour, int(k)) for contour, k in zip(contours, slices, strict=True) if k >= 0]
    if not present:
        return AnnotationMask(PatchMask((0, 0, 0), np.zeros((0, 0, 0), dtype=bool)), absent)
    start, size = _box(annotation, present, size_xy)
    mask = np.zeros(size, dtype=bool)
    for wanted in (True, False):
        for contour, k in present:
            if contour.inclusion is wanted:
                filled = fill_outline(contour.points, border if wanted else "include")
                i, j = filled.start[0] - start[0], filled.start[1] - start[1]
                view = mask[i : i + filled.mask.shape[0], j : j + filled.mask.shape[1], k - start[2]]
                view[filled.mask] = wanted
    return AnnotationMask(PatchMask(start, mask), absent)


def _box(
    annotation: Annotation, present: list[tuple[Contour, int]], size_xy: tuple[int, int]
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    points = np.concatenate([contour.points for contour, _ in present])
    low, high = points.min(axis=0), points.max(axis=0)
    if low.min() < 0 or np.any(high >= size_xy):
        raise DataError(
            f"nodule {annotation.nodule_id}: its outline spans x {low[0]} to {high[0]}, y {low[1]} to {high[1]}, "
            f"outside the image of {size_xy[0]} x {size_xy[1]} pixels; does the reading belong to this CT?"
        )
    ks = [k for _, k in present]
    start = (int(low[0]), int(low[1]), min(ks))
    size = (int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1, max(ks) - min(ks) + 1)
    return start, size
