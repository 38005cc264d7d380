"""The regular grid of parallel slices: order and affine from positions alone, and every irregularity by name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.affine import Affine, flip_lps_ras

__all__ = [
    "DUPLICATE_MM",
    "TILT_TOLERANCE_DEG",
    "StackProblem",
    "distinct_steps",
    "find_problem",
    "find_problems",
    "longest_regular_run",
    "slice_normal",
    "stack_affine_ras",
    "stack_order",
]

TILT_TOLERANCE_DEG = 0.1
"""Largest angle in degrees between the slice normal and the direction in which the slices advance."""

DUPLICATE_MM = 0.01
"""Slices closer than this along the normal share one position."""

_STEP_FRACTION = 0.01
_STEP_FLOOR_MM = 0.011  # positions are often written with two decimals
_LINE_FRACTION = 0.05
_LINE_FLOOR_MM = 0.05


class StackProblem(NamedTuple):
    """Why slices do not form a regular grid.

    Attributes:
        kind: "duplicate", "tilt", "missing", "variable" or "shifted".
        text: the finding with its numbers, ready for an error message.
        indices: positions in the sorted stack that show the problem (for file names).
    """

    kind: str
    text: str
    indices: tuple[int, ...]


def slice_normal(orientation: ArrayLike) -> NDArray[np.float64]:
    """Unit normal (row direction x column direction) of DICOM's six direction cosines, LPS.

    Raises:
        ValueError: if the two directions are not orthogonal unit vectors within 0.001.
    """
    cosines = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    gram = cosines @ cosines.T
    if not np.all(np.isfinite(gram)) or np.abs(gram - np.eye(2)).max() > 1e-3:
        raise ValueError(
            f"image orientation {cosines.ravel().round(6).tolist()} is not a pair of orthogonal unit vectors"
        )
    normal = np.cross(cosines[0], cosines[1])
    return normal / np.linalg.norm(normal)


def stack_order(positions_lps: ArrayLike, normal: ArrayLike) -> NDArray[np.intp]:
    """Indices that sort slice positions ``(n, 3)`` along the normal, ascending; equal positions keep their order."""
    return np.argsort(np.asarray(positions_lps, np.float64) @ np.asarray(normal, np.float64), kind="stable")


def distinct_steps(along_mm: ArrayLike) -> list[float]:
    """The different distances between neighbouring slices, rounded to 0.001 mm, in order of first appearance.

    Steps that agree within 0.002 mm count as one.
    """
    found: list[float] = []
    for step in np.diff(np.asarray(along_mm, np.float64)):
        if all(abs(step - known) > 0.002 for known in found):
            found.append(round(float(step), 3))
    return found


def find_problem(positions_lps: ArrayLike, normal: ArrayLike) -> StackProblem | None:
    """The first reason why sorted slices do not form a regular grid, or None; see `find_problems`."""
    found = find_problems(positions_lps, normal)
    return found[0] if found else None


def find_problems(positions_lps: ArrayLike, normal: ArrayLike) -> list[StackProblem]:
    """Every reason why sorted slices do not form a regular grid, at most one of each kind.

    Checked in this order: duplicates (closer than 0.01 mm; the later checks look at one slice of each position); tilt
    (more than 0.1 degree); missing slices (every step is a whole multiple of the smallest, and at least half of them
    are the smallest) or else variable spacing (steps more than 1 % off the median); slices off the straight line.

    Args:
        positions_lps: centres of the first pixels, sorted, shape ``(n, 3)`` with n >= 2, mm.
        normal: unit normal of the slices, LPS.
    """
    positions, unit = np.asarray(positions_lps, np.float64), np.asarray(normal, np.float64)
    along = positions @ unit
    found = [_find_duplicates(along, np.diff(along))]
    single = np.concatenate([[0], np.flatnonzero(np.diff(along) >= DUPLICATE_MM) + 1])
    if len(single) > 1:
        positions, along = positions[single], along[single]
        tilt = _find_tilt(positions, unit, along)
        uneven = _find_steps(along, np.diff(along))
        found += [tilt, uneven, _find_shift(positions) if uneven is None else _find_sway(positions, along)]
    places = single.tolist()
    return [
        problem if problem.kind == "duplicate" else problem._replace(indices=tuple(places[i] for i in problem.indices))
        for problem in found
        if problem is not None
    ]


def _find_duplicates(along: NDArray[np.float64], steps: NDArray[np.float64]) -> StackProblem | None:
    twice = np.flatnonzero(steps < DUPLICATE_MM)
    if not len(twice):
        return None
    where = sorted({round(float(along[i]), 3) for i in twice})
    indices = sorted({int(j) for i in twice for j in (i, i + 1)})
    text = f"{len(indices)} slices share {len(where)} position(s): {_numbers(where)} mm along the normal"
    return StackProblem("duplicate", text, tuple(indices))


def _find_tilt(
    positions: NDArray[np.float64], normal: NDArray[np.float64], along: NDArray[np.float64]
) -> StackProblem | None:
    advance = positions[-1] - positions[0]
    sideways = np.linalg.norm(advance - (advance @ normal) * normal)
    angle = float(np.degrees(np.arctan2(sideways, advance @ normal)))
    if angle <= TILT_TOLERANCE_DEG:
        return None
    text = (
        f"the slices advance {angle:.1f} degrees off their normal (gantry tilt; at most {TILT_TOLERANCE_DEG} is "
        f"accepted), slice spacing {_numbers(distinct_steps(along), ' / ')} mm"
    )
    return StackProblem("tilt", text, ())


def _find_steps(along: NDArray[np.float64], steps: NDArray[np.float64]) -> StackProblem | None:
    median = float(np.median(steps))
    if np.abs(steps - median).max() <= max(_STEP_FRACTION * median, _STEP_FLOOR_MM):
        return None
    base = float(steps.min())
    tolerance = max(2 * _STEP_FRACTION * base, _STEP_FLOOR_MM)
    multiples = np.rint(steps / base)
    if np.abs(steps - multiples * base).max() <= tolerance and np.mean(multiples == 1) >= 0.5:
        base = float(np.median(steps[multiples == 1]))
        absent = [
            float(along[i] + base * m) for i in np.flatnonzero(multiples > 1) for m in range(1, int(multiples[i]))
        ]
        indices = sorted({int(j) for i in np.flatnonzero(multiples > 1) for j in (i, i + 1)})
        text = f"{len(absent)} slice(s) missing at {_numbers(absent)} mm along the normal (spacing {base:.3f} mm)"
        return StackProblem("missing", text, tuple(indices))
    off = np.flatnonzero(np.abs(steps - median) > max(_STEP_FRACTION * median, _STEP_FLOOR_MM))
    text = f"slice spacing varies: {_numbers(distinct_steps(along), ' / ')} mm"
    return StackProblem("variable", text, tuple(sorted({int(j) for i in off[:4] for j in (i, i + 1)})))


def _find_shift(positions: NDArray[np.float64]) -> StackProblem | None:
    n = len(positions)
    line = positions[0] + np.arange(n)[:, None] * (positions[-1] - positions[0]) / (n - 1)
    return _off_the_line(positions, line, "off the evenly spaced straight line from first to last slice")


def _find_sway(positions: NDArray[np.float64], along: NDArray[np.float64]) -> StackProblem | None:
    """Slices off the straight line, looked for when uneven steps along it have been found already."""
    share = (along - along[0]) / (along[-1] - along[0])
    line = positions[0] + share[:, None] * (positions[-1] - positions[0])
    return _off_the_line(positions, line, "beside the straight line from first to last slice")


def _off_the_line(positions: NDArray[np.float64], line: NDArray[np.float64], words: str) -> StackProblem | None:
    off = np.linalg.norm(positions - line, axis=1)
    spacing = float(np.linalg.norm(positions[-1] - positions[0]) / (len(positions) - 1))
    worst = int(off.argmax())
    if off[worst] <= max(_LINE_FRACTION * spacing, _LINE_FLOOR_MM):
        return None
    return StackProblem("shifted", f"slice {worst} lies {off[worst]:.3f} mm {words}", (worst,))


def _numbers(values: Sequence[float], joint: str = ", ", limit: int = 10) -> str:
    shown = joint.join(f"{value:.3f}" for value in values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"


def longest_regular_run(along_mm: ArrayLike) -> tuple[slice, list[float]]:
    """The longest stretch of sorted slices without a gap, and the positions of the other slices.

    A gap is a step of more than 1.5 times the median step. Of two equally long runs the first is taken.

    Returns:
        The slice of indices to keep, and the positions in mm of the slices left out (present, but beyond a gap).
    """
    along = np.asarray(along_mm, np.float64)
    if len(along) < 2:
        return slice(0, len(along)), []
    steps = np.diff(along)
    edges = [0, *(int(i) + 1 for i in np.flatnonzero(steps > 1.5 * np.median(steps))), len(along)]
    runs = [slice(a, b) for a, b in pairwise(edges)]
    best = max(runs, key=lambda run: run.stop - run.start)
    dropped = [float(value) for index, value in enumerate(along) if not best.start <= index < best.stop]
    return best, dropped


def stack_affine_ras(positions_lps: ArrayLike, orientation: ArrayLike, pixel_spacing_mm: Sequence[float]) -> Affine:
    """Affine of the array ``[i = column, j = row, k = slice]``, voxel to RAS mm.

    Args:
        positions_lps: centres of the first pixels, sorted along the normal, shape ``(n, 3)``, n >= 2.
        orientation: six direction cosines, row direction then column direction.
        pixel_spacing_mm: DICOM order: distance between rows, then between columns.
    """
    positions = np.asarray(positions_lps, np.float64)
    cosines = np.asarray(orientation, np.float64).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0] = cosines[0] * pixel_spacing_mm[1]
    affine[:3, 1] = cosines[1] * pixel_spacing_mm[0]
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine[:3, 3] = positions[0]
    return flip_lps_ras(affine) + 0.0  # no negative zeros
