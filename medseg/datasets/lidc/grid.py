"""The voxel grid of a scan as the annotation database describes it, for masks without a CT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medseg.datasets.lidc.crops import LIDC_COLUMNS_ROWS
from medseg.datasets.lidc.database import Scan
from medseg.geometry import Affine, make_affine
from medseg.geometry.slice_stack import StackProblem, find_problem
from medseg.io.bounded.errors import DataError

__all__ = ["AnnotationGrid", "annotation_grid", "irregular_slices"]


class AnnotationGrid(NamedTuple):
    """The grid of the annotations if only the database is available.

    Attributes:
        affine_ras: 4 x 4, voxel to RAS mm; spacing and z are true. The database records neither the position of
            the first pixel nor the directions: x and y are measured from the centre of the first pixel, columns are
            assumed to run to the left and rows to the back.
        shape: columns, rows, slices.
    """

    affine_ras: Affine
    shape: tuple[int, int, int]


def irregular_slices(slice_z_mm: Sequence[float]) -> StackProblem | None:
    """Why slice positions are not evenly spaced (steps more than 1 % off the median), or None.

    Args:
        slice_z_mm: ascending, at least one.
    """
    if len(slice_z_mm) < 2:
        return None
    positions = np.zeros((len(slice_z_mm), 3))
    positions[:, 2] = slice_z_mm
    return find_problem(positions, (0.0, 0.0, 1.0))


def annotation_grid(scan: Scan, slice_z_mm: Sequence[float]) -> AnnotationGrid:
    """The grid of a scan's masks: pixel spacing and slice positions; never the slice thickness.

    Args:
        scan: what the database says about the scan.
        slice_z_mm: z of every slice, ascending, LPS mm.

    Raises:
        DataError: if the slices are not evenly spaced, which an affine cannot describe, or fewer than two.

    >>> scan = Scan("LIDC-IDRI-0001", "1.2.3", pixel_spacing_mm=0.7, slice_thickness_mm=2.5)
    >>> annotation_grid(scan, [-10.0, -7.5, -5.0]).shape
    (512, 512, 3)
    """
    if len(slice_z_mm) < 2:
        raise DataError(f"series {scan.series_uid} has {len(slice_z_mm)} slice positions, expected at least 2")
    problem = irregular_slices(slice_z_mm)
    if problem is not None:
        raise DataError(
            f"series {scan.series_uid} ({scan.patient_id}): {problem.text}; it has no regular grid, so use its CT"
        )
    step = (slice_z_mm[-1] - slice_z_mm[0]) / (len(slice_z_mm) - 1)
    spacing = (scan.pixel_spacing_mm, scan.pixel_spacing_mm, float(step))
    # The database records no directions; the usual ones keep the pixel indices right in any case.
    affine = make_affine(spacing, (0.0, 0.0, float(slice_z_mm[0])), "LPS")
    return AnnotationGrid(affine, (*LIDC_COLUMNS_ROWS, len(slice_z_mm)))
