"""Nodules of a CT whose slices were repaired: drawn on the original slices, then brought onto the repaired grid."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medseg.io.bounded.errors import DataError, shorten

if TYPE_CHECKING:
    from medseg.datasets.lidc import Nodule, NodulePolicy, Reading
    from medseg.datasets.lidc.consensus import NoduleFault
    from medseg.io.ct.series import CtSeries
    from medseg.io.results.repaired import RepairedGrid

__all__ = ["nodules_of_series", "slice_z_mm"]


def slice_z_mm(series: CtSeries) -> NDArray[np.float64]:
    """z of ImagePositionPatient of the slices of a CT; of one that was filled, of the original and the filled ones."""
    from medseg.geometry import apply_affine
    from medseg.io.results.source import repaired_grid_of

    grid = repaired_grid_of(series)
    count = series.array.shape[2]
    if grid is None or series.stack is None:
        return apply_affine(series.affine_ras, np.array([[0, 0, k] for k in range(count)]))[:, 2]
    own = series.stack.positions[:, 2]
    return np.unique(np.concatenate([own, np.interp(np.arange(count), grid.heights, own)]).round(3))


def nodules_of_series(
    reading: Reading, series: CtSeries, policy: NodulePolicy
) -> tuple[list[Nodule], list[NoduleFault]]:
    """All outlined nodules of a reading on the grid of a CT.

    On a repaired grid each slice shows the outlines of the original slice nearest to it, moved by whole pixels.

    Args:
        reading: what the readers drew.
        series: the CT.
        policy: how annotations are grouped, filled and joined.

    Returns:
        The nodules, and those that cannot be built: an outline leaves the image, or has no place on the repaired grid.
    """
    from medseg.datasets.lidc.consensus import NoduleFault, nodules_and_faults
    from medseg.geometry import spacing_of
    from medseg.io.results.source import repaired_grid_of

    thickness = series.facts.get("slice_thickness_mm")
    grid = repaired_grid_of(series)
    dx, dy, _ = (float(value) for value in spacing_of(series.affine_ras))
    if grid is None or series.stack is None:
        columns, rows, _ = series.array.shape
        return nodules_and_faults(reading, slice_z_mm(series), (dx, dy), (columns, rows), policy, thickness)
    own_z = series.stack.positions[:, 2]
    drawn, faults = nodules_and_faults(reading, own_z, (dx, dy), grid.size, policy, thickness)
    nodules: list[Nodule] = []
    for nodule in drawn:
        try:
            nodules.append(_moved(nodule, grid))
        except DataError as error:
            names = tuple(item.nodule_id for items in nodule.annotations.values() for item in items)
            faults.append(NoduleFault(nodule.nodule_id, names, str(error), len(names)))
    return nodules, faults


def _moved(nodule: Nodule, grid: RepairedGrid) -> Nodule:
    consensus, start = grid.from_slices(nodule.consensus, nodule.start)
    masks = {reader: grid.from_slices(mask, nodule.start)[0] for reader, mask in nodule.masks.items()}
    without = [reader for reader, mask in masks.items() if not mask.any()]
    if without:
        raise DataError(
            f"the outline of reader {shorten(without)} covers no voxel of the repaired "
            "grid, so its place there is unknown; convert the series without repairing it"
        )
    return replace(nodule, start=start, masks=masks, consensus=consensus)
