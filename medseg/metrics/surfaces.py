"""Distances between the surfaces of two masks, in millimetres: ASSD, RMSD, MSD, HD95 and the surface Dice.

A surface is the set of foreground voxels with a background voxel in their neighbourhood; what lies outside the array is
background. Distances run between the centres of surface voxels. They are found by a k-d tree of the surface voxels
alone, so that time and memory grow with the surfaces and not with the volume; the distances are the exact ones of a
Euclidean distance transform.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.metrics.boxes import union_box
from medseg.metrics.overlap import EmptyMasks, foreground_pair, which_empty

__all__ = ["SurfaceDistances", "surface_dice", "surface_distances", "surface_voxels"]

_ROUNDING = 1e-9  # relative: a distance that equals the tolerance is within it


class SurfaceDistances(NamedTuple):
    """Distances from every surface voxel of one mask to the nearest surface voxel of the other.

    The summaries are NaN if one mask is empty and 0 if both are: where there is no surface, none is wrong.

    Attributes:
        to_reference_mm: of the prediction's surface voxels.
        to_prediction_mm: of the reference's surface voxels.
        empty: which of the masks is empty.

    >>> mask = np.ones((3, 3), bool)
    >>> surface_distances(mask, mask, spacing_mm=(1.0, 1.0)).msd_mm
    0.0
    """

    to_reference_mm: NDArray[np.float64]
    to_prediction_mm: NDArray[np.float64]
    empty: EmptyMasks

    @property
    def assd_mm(self) -> float:
        """Average symmetric surface distance: mean over the voxels of both surfaces together (LiTS, MONAI, medpy)."""
        return self._summary(lambda both: float(both.mean()))

    @property
    def rmsd_mm(self) -> float:
        """Root of the mean squared distance over the voxels of both surfaces together."""
        return self._summary(lambda both: math.sqrt(float(np.square(both).mean())))

    @property
    def msd_mm(self) -> float:
        """Maximum symmetric surface distance, also known as the Hausdorff distance."""
        return self._summary(lambda both: float(both.max()))

    @property
    def hd95_mm(self) -> float:
        """The larger of both directions' 95th percentiles (linear interpolation, as MONAI)."""
        return self._summary(
            lambda _: max(float(np.percentile(part, 95)) for part in (self.to_reference_mm, self.to_prediction_mm))
        )

    def _summary(self, value: Callable[[NDArray[np.float64]], float]) -> float:
        if self.empty != "none":
            return 0.0 if self.empty == "both" else float("nan")
        return value(np.concatenate([self.to_reference_mm, self.to_prediction_mm]))


def surface_distances(
    prediction: ArrayLike,
    reference: ArrayLike,
    spacing_mm: Sequence[float],
    connectivity: int = 1,
    workers: int = 1,
) -> SurfaceDistances:
    """The distances between the surfaces of two masks.

    Args:
        prediction: 2-D or 3-D mask or label map; values above 0 are foreground.
        reference: the same of the same shape.
        spacing_mm: distance of the voxels along every array axis, mm.
        connectivity: neighbourhood in which a surface voxel has a background voxel: 1 faces (6 neighbours; MONAI and
            medpy), 2 faces and edges (18; the scripts of LiTS), 3 also corners (26).
        workers: threads of the search; -1 takes all processors.

    Raises:
        ValueError: for other shapes, numbers of axes or arguments, and masks that are not whole numbers.

    >>> prediction, reference = np.zeros((2, 9, 9), bool)
    >>> prediction[2:5, 2:5] = reference[2:5, 3:6] = True  # shifted by one column of 0.5 mm
    >>> surface_distances(prediction, reference, spacing_mm=(1.0, 0.5)).msd_mm
    0.5
    """
    first, second, steps = _checked(prediction, reference, spacing_mm)
    if not 1 <= connectivity <= first.ndim:
        raise ValueError(f"connectivity is {connectivity}, expected 1 to {first.ndim}")
    first, second = _crop_to_union(first, second)
    a, b = (np.argwhere(surface_voxels(mask, connectivity)) for mask in (first, second))
    forth, back = _nearest(a, b, steps, workers), _nearest(b, a, steps, workers)
    return SurfaceDistances(forth, back, which_empty(len(a), len(b)))


def surface_dice(
    prediction: ArrayLike,
    reference: ArrayLike,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    workers: int = 1,
) -> float:
    """Surface Dice at a tolerance: the share of both surfaces that lies within a distance of the other one.

    As Nikolov et al. (JMIR 2021): surfaces lie between voxels and count by their area in mm2, which is that of the
    package ``surface-distance`` (the areas come from MONAI's table). A distance equal to the tolerance is within it.

    Args:
        prediction: 3-D mask or label map; values above 0 are foreground.
        reference: the same of the same shape.
        spacing_mm: distance of the voxels along every array axis, mm.
        tolerance_mm: at least 0.
        workers: threads of the search.

    Returns:
        A value in [0, 1]; 1 if both masks are empty, 0 if one is.

    Raises:
        ValueError: as `surface_distances`, and for a negative tolerance.

    >>> prediction, reference = np.zeros((2, 12, 12, 12), bool)
    >>> prediction[3:9, 3:9, 3:9] = reference[3:9, 3:9, 4:10] = True
    >>> surface_dice(prediction, reference, (1.0, 1.0, 1.0), tolerance_mm=1.0)
    1.0
    """
    first, second, steps = _checked(prediction, reference, spacing_mm)
    if first.ndim != 3:
        raise ValueError(f"the masks have {first.ndim} axes, expected 3")
    if not tolerance_mm >= 0:
        raise ValueError(f"tolerance_mm is {tolerance_mm}, expected at least 0")
    if not (first.any() and second.any()):
        return 1.0 if not (first.any() or second.any()) else 0.0
    area_of = _areas(steps)
    parts = [_codes(mask) for mask in _crop_to_union(first, second)]
    points = [np.argwhere((code != 0) & (code != 255)) for code in parts]
    areas = [area_of[code[tuple(where.T)]] for code, where in zip(parts, points, strict=True)]
    limit = tolerance_mm * (1 + _ROUNDING)
    near = [_nearest(points[i], points[1 - i], steps, workers) <= limit for i in (0, 1)]
    inside = sum(float(area[hit].sum()) for area, hit in zip(areas, near, strict=True))
    return min(1.0, inside / sum(float(area.sum()) for area in areas))


def surface_voxels(mask: NDArray[np.bool_], connectivity: int = 1) -> NDArray[np.bool_]:
    """Foreground voxels with a background voxel, or the end of the array, in their neighbourhood.

    Args:
        mask: bool array of any number of axes.
        connectivity: the largest number of axes along which a neighbour is displaced.

    >>> surface_voxels(np.ones((3, 3), bool)).astype(int).tolist()
    [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    # Erosion by a cube within some of the axes is separable; the neighbourhood is the union of such cubes.
    cubes: dict[tuple[int, ...], NDArray[np.bool_]] = {(): mask}
    for _ in range(connectivity):
        cubes = {
            (*axes, axis): _erode(eroded, axis)
            for axes, eroded in cubes.items()
            for axis in range(axes[-1] + 1 if axes else 0, mask.ndim)
        }
    return mask & ~np.logical_and.reduce(list(cubes.values()))


def _erode(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Voxels whose two neighbours along an axis are foreground too."""
    result = np.zeros_like(mask)
    if mask.shape[axis] < 3:
        return result
    views = [[slice(None)] * mask.ndim for _ in range(3)]
    for view, part in zip(views, (slice(None, -2), slice(1, -1), slice(2, None)), strict=True):
        view[axis] = part
    before, centre, after = (tuple(view) for view in views)
    np.logical_and(mask[before], mask[after], out=result[centre])
    result[centre] &= mask[centre]
    return result


def _nearest(
    points: NDArray[np.intp], targets: NDArray[np.intp], steps: NDArray[np.float64], workers: int
) -> NDArray[np.float64]:
    """Distance of every point to the nearest target, mm; none if one of the sets is empty."""
    if not len(points) or not len(targets):
        return np.zeros(0)
    from scipy.spatial import cKDTree

    # Not balanced: to split at a median, SciPy adds the smallest number to a zero, for ever where torch flushes it.
    tree = cKDTree(targets * steps, balanced_tree=False)
    _, index = tree.query(points * steps, workers=workers)
    # From whole steps, so that equal distances are equal numbers wherever they lie.
    difference: NDArray[np.float64] = (points - targets[index]) * steps
    return np.sqrt(np.square(difference).sum(axis=1))


def _crop_to_union(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    box = union_box(first, second)
    return np.ascontiguousarray(first[box]), np.ascontiguousarray(second[box])


def _codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """For every corner of the voxel grid the eight voxels around it, one bit each; outside is background."""
    padded = np.pad(mask, 1).astype(np.uint8)
    shape = tuple(length - 1 for length in padded.shape)
    result = np.zeros(shape, np.uint8)
    for bit in range(8):
        i, j, k = bit >> 2 & 1, bit >> 1 & 1, bit & 1
        part = padded[i : i + shape[0], j : j + shape[1], k : k + shape[2]]
        result |= part << np.uint8(7 - bit)
    return result


def _areas(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area of the surface in a cell of eight voxels, mm2, by code."""
    from monai.metrics.utils import get_code_to_measure_table

    table, _ = get_code_to_measure_table([float(step) for step in steps], device="cpu")
    return np.asarray(table, np.float64).ravel()


def _checked(
    prediction: ArrayLike, reference: ArrayLike, spacing_mm: Sequence[float]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
    first, second = foreground_pair(prediction, reference)
    if first.ndim not in (2, 3):
        raise ValueError(f"the masks have {first.ndim} axes, expected 2 or 3")
    steps = np.asarray(spacing_mm, np.float64)
    if steps.shape != (first.ndim,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise ValueError(f"spacing_mm is {list(spacing_mm)}, expected {first.ndim} positive numbers")
    return first, second, steps
