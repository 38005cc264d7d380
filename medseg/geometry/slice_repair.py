"""Slices with uneven spacing: the evenly spaced runs among them, and an even grid filled by linear interpolation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SliceGrid", "grid_step", "regular_grid", "regular_runs"]

_STEP_FRACTION = 0.01
_STEP_FLOOR_MM = 0.011  # positions are often written with two decimals


class SliceGrid(NamedTuple):
    """Evenly spaced output slices, each a blend of two neighbouring input slices.

    Output slice k is ``(1 - weight[k]) * input[lower[k]] + weight[k] * input[lower[k] + 1]``.

    Attributes:
        along_mm: positions of the output slices along the normal, from the first input slice to the last.
        lower: index of the lower input slice.
        weight: share of the upper input slice, 0 <= weight < 1; 0 means that the slice is taken as it is.
        unused: number of input slices that no output slice uses.
    """

    along_mm: NDArray[np.float64]
    lower: NDArray[np.intp]
    weight: NDArray[np.float64]
    unused: int


def grid_step(along_mm: ArrayLike) -> tuple[int, float]:
    """Number of steps and step in mm of the even grid from the first slice to the last, close to the common step.

    The common step is the median of all steps; where every step is a whole multiple of the smallest one (slices are
    missing), it is the median of the single steps.

    Args:
        along_mm: sorted positions, at least two, none of them equal.
    """
    along = np.asarray(along_mm, np.float64)
    steps = np.diff(along)
    base = float(steps.min())
    multiples = np.rint(steps / base)
    whole = np.abs(steps - multiples * base).max() <= max(2 * _STEP_FRACTION * base, _STEP_FLOOR_MM)
    common = float(np.median(steps[multiples == 1] if whole and np.mean(multiples == 1) >= 0.5 else steps))
    extent = float(along[-1] - along[0])
    count = max(1, round(extent / common))
    return count, extent / count


def regular_grid(along_mm: ArrayLike) -> SliceGrid:
    """Plan the even grid of `grid_step`, from the first slice to the last: nothing is extrapolated.

    An output slice within 1 % of a step (or 0.011 mm) of an input slice is that slice, unblended.

    Args:
        along_mm: sorted positions, at least two, none of them equal.
    """
    along = np.asarray(along_mm, np.float64)
    count, step = grid_step(along)
    grid = np.linspace(along[0], along[-1], count + 1)
    lower = np.clip(np.searchsorted(along, grid, side="right") - 1, 0, len(along) - 2)
    weight = (grid - along[lower]) / np.diff(along)[lower]
    nearest = _nearest(along, grid)
    same = np.abs(grid - along[nearest]) <= max(_STEP_FRACTION * step, _STEP_FLOOR_MM)
    lower[same], weight[same] = nearest[same], 0.0
    used = np.union1d(lower, lower[weight > 0] + 1)
    return SliceGrid(grid, lower, weight, int(len(along) - len(used)))


def _nearest(along: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.intp]:
    upper = np.clip(np.searchsorted(along, grid), 1, len(along) - 1)
    return np.where(grid - along[upper - 1] <= along[upper] - grid, upper - 1, upper)


def regular_runs(along_mm: ArrayLike) -> list[slice]:
    """Stretches of evenly spaced slices, in order; every slice is in at most one of them.

    A slice between two stretches goes to the longer one. Two slices further apart than 1.5 times the median step do
    not make a run, and neither does a single slice.

    Args:
        along_mm: sorted positions, none of them equal.

    Returns:
        The runs as index ranges, each of at least two slices.
    """
    along = np.asarray(along_mm, np.float64)
    if len(along) < 2:
        return []
    steps = np.diff(along)
    stretches = _equal_stretches(steps)
    limit = 1.5 * float(np.median(steps))
    free = np.ones(len(along), bool)
    runs = []
    # The sort is stable: of equally long stretches the first comes first.
    for start, stop in sorted(stretches, key=lambda ends: ends[0] - ends[1]):
        while start < stop and not free[start]:
            start += 1
        while stop > start and not free[stop - 1]:
            stop -= 1
        if stop - start >= 3 or (stop - start == 2 and steps[start] <= limit):
            runs.append(slice(start, stop))
            free[start:stop] = False
    return sorted(runs, key=lambda run: run.start)


def _equal_stretches(steps: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Ranges of slices between which every step equals the first one."""
    stretches, start = [], 0
    for i in range(1, len(steps) + 1):
        tolerance = max(_STEP_FRACTION * float(steps[start]), _STEP_FLOOR_MM)
        if i == len(steps) or abs(float(steps[i] - steps[start])) > tolerance:
            stretches.append((start, i + 1))
            start = i
    return stretches
