"""Measures of a data set: spacing, shape, HU of the foreground, volumes and connected parts of every label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from medseg.geometry import orientation_codes, spacing_of, voxel_volume_ml

__all__ = ["CaseFingerprint", "case_fingerprint", "dataset_fingerprint", "histogram_percentile"]

HU_RANGE = (-32768, 32767)
_NEIGHBOURS = ndimage.generate_binary_structure(3, 2)  # 18
_PERCENTILES = (0.5, 5.0, 50.0, 95.0, 99.5)


class CaseFingerprint(NamedTuple):
    """The numbers of one case.

    Attributes:
        name: the case.
        shape: voxels along the array axes.
        spacing_mm: along the array axes.
        orientation: letters of the array axes, e.g. ``LPS``.
        volumes_ml: volume of every label value above 0.
        part_volumes_ml: volumes of the connected parts (18 neighbours) of these labels, largest first.
        first_hu: HU of the first bin of ``counts``.
        counts: histogram of the foreground (label above 0), one bin for every whole HU.
        value_sum: sum of the foreground's values, exact.
        square_sum: sum of their squares.

    >>> import numpy as np
    >>> label = np.zeros((8, 8, 8), np.uint8)
    >>> label[2:6, 2:6, 2:6] = 1
    >>> found = case_fingerprint("case", np.full(label.shape, 55), label, np.eye(4), values=(1,))
    >>> found.to_record()["parts"]
    {'1': 1}
    """

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str
    volumes_ml: dict[int, float]
    part_volumes_ml: dict[int, tuple[float, ...]]
    first_hu: int
    counts: NDArray[np.int64]
    value_sum: float
    square_sum: float

    def to_record(self) -> dict[str, Any]:
        """The case as plain JSON values, with percentiles instead of the histogram."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "spacing_mm": [round(step, 6) for step in self.spacing_mm],
            "orientation": self.orientation,
            "volumes_ml": {str(value): round(volume, 6) for value, volume in self.volumes_ml.items()},
            "parts": {str(value): len(parts) for value, parts in self.part_volumes_ml.items()},
            "foreground_hu": _hu_record(self.first_hu, self.counts, self.value_sum, self.square_sum),
        }


def case_fingerprint(
    name: str, image: NDArray[Any], label: NDArray[Any], affine_ras: ArrayLike, values: Sequence[int] = (1, 2)
) -> CaseFingerprint:
    """Measure one case.

    Args:
        name: the case.
        image: HU ``[i, j, k]``; values between whole HU are counted at the nearest whole HU.
        label: label map on the same grid; values above 0 are the foreground.
        affine_ras: 4 x 4, voxel to RAS mm.
        values: label values measured one by one.

    Raises:
        ValueError: if the shapes differ, or the foreground holds values outside int16, which are not HU.

    >>> import numpy as np
    >>> label = np.zeros((8, 8, 8), np.uint8)
    >>> label[2:6, 2:6, 2:6] = 1
    >>> found = case_fingerprint("case", np.full(label.shape, 55), label, np.eye(4), values=(1,))
    >>> found.volumes_ml, found.orientation
    ({1: 0.064}, 'RAS')
    """
    if image.shape != label.shape or image.ndim != 3:
        raise ValueError(f"{name}: image has shape {image.shape}, label {label.shape}, expected one grid of three axes")
    inside = np.asarray(image[label > 0])
    if inside.size and not (HU_RANGE[0] <= inside.min() and inside.max() <= HU_RANGE[1]):
        raise ValueError(f"{name}: foreground values {inside.min()} to {inside.max()}, expected HU within {HU_RANGE}")
    whole = np.rint(inside).astype(np.int64)
    first = int(whole.min()) if whole.size else 0
    exact = inside.astype(np.float64)
    voxel = voxel_volume_ml(affine_ras)
    parts = {int(value): _part_volumes(label == value, voxel) for value in values}
    i, j, k = image.shape
    x, y, z = (float(step) for step in spacing_of(affine_ras))
    return CaseFingerprint(
        name,
        (i, j, k),
        (x, y, z),
        "".join(orientation_codes(affine_ras)),
        {int(value): float(np.count_nonzero(label == value) * voxel) for value in values},
        parts,
        first,
        np.bincount(whole - first) if whole.size else np.zeros(0, np.int64),
        float(exact.sum()),
        float(np.square(exact).sum()),
    )


def dataset_fingerprint(cases: Sequence[CaseFingerprint], label_names: Mapping[int, str]) -> dict[str, Any]:
    """Measure a data set from its cases. All foreground voxels of all cases have equal weight; nothing is sampled.

    Args:
        cases: at least one.
        label_names: name of every label value that was measured.

    Returns:
        Plain JSON values: ``cases`` one by one; ``spacing_mm`` and ``shape`` with least, median and largest along every
        array axis; ``foreground_hu`` pooled, whose ``percentile_00_5``, ``percentile_99_5``, ``mean`` and ``sd`` are
        what CT normalisation schemes use; ``volumes_ml`` and ``parts`` by label name.

    Raises:
        ValueError: if there is no case.

    >>> import numpy as np
    >>> label = np.zeros((8, 8, 8), np.uint8)
    >>> label[2:6, 2:6, 2:6] = 1
    >>> cases = [case_fingerprint(str(n), np.full(label.shape, n), label, np.eye(4), values=(1,)) for n in (40, 60)]
    >>> dataset_fingerprint(cases, {1: "liver"})["foreground_hu"]["mean"]
    50.0
    """
    if not cases:
        raise ValueError("no case to take a fingerprint of, expected at least one")
    first, counts = pooled_histogram(cases)
    names = {int(value): name for value, name in label_names.items()}
    return {
        "number_of_cases": len(cases),
        "spacing_mm": _extremes([case.spacing_mm for case in cases]),
        "shape": _extremes([case.shape for case in cases]),
        "orientations": dict(sorted(Counter(case.orientation for case in cases).items())),
        "foreground_hu": _hu_record(
            first, counts, sum(case.value_sum for case in cases), sum(case.square_sum for case in cases)
        ),
        "volumes_ml": {
            name: _spread([case.volumes_ml[value] for case in cases if value in case.volumes_ml])
            for value, name in names.items()
        },
        "parts": {name: _parts_record(cases, value) for value, name in names.items()},
        "cases": [case.to_record() for case in cases],
    }


def pooled_histogram(cases: Sequence[CaseFingerprint]) -> tuple[int, NDArray[np.int64]]:
    """First HU and counts of the foreground of all cases together."""
    filled = [case for case in cases if case.counts.size]
    if not filled:
        return 0, np.zeros(0, np.int64)
    first = min(case.first_hu for case in filled)
    last = max(case.first_hu + case.counts.size for case in filled)
    counts = np.zeros(last - first, np.int64)
    for case in filled:
        start = case.first_hu - first
        counts[start : start + case.counts.size] += case.counts
    return first, counts


def histogram_percentile(first: int, counts: ArrayLike, percent: float) -> float:
    """The percentile of whole numbers given by their histogram, linear between neighbours as NumPy's default.

    Args:
        first: value of the first bin; bins are one apart.
        counts: how often each value occurs.
        percent: 0 to 100.

    Raises:
        ValueError: for an empty histogram or a percentage out of range.
    """
    cumulated = np.cumsum(np.asarray(counts, np.int64))
    if not cumulated.size or cumulated[-1] == 0:
        raise ValueError("the histogram is empty, expected at least one value")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent is {percent}, expected 0 to 100")
    place = (int(cumulated[-1]) - 1) * percent / 100.0
    low = int(np.floor(place))
    below, above = np.searchsorted(cumulated, [low, min(low + 1, int(cumulated[-1]) - 1)], side="right")
    return float(first + below + (place - low) * (above - below))


def _hu_record(first: int, counts: NDArray[np.int64], total: float, squares: float) -> dict[str, Any] | None:
    number = int(counts.sum())
    if not number:
        return None
    mean = total / number
    record: dict[str, Any] = {
        "voxels": number,
        "mean": round(mean, 4),
        "sd": round(float(np.sqrt(max(squares / number - mean * mean, 0.0))), 4),
    }
    for percent in _PERCENTILES:
        key = f"percentile_{percent:04.1f}".replace(".", "_")
        record[key] = round(histogram_percentile(first, counts, percent), 4)
    return record


def _part_volumes(mask: NDArray[np.bool_], voxel_ml: float) -> tuple[float, ...]:
    filled = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not filled[0].size:
        return ()
    box = tuple(slice(int(index[0]), int(index[-1]) + 1) for index in filled)
    parts, _ = ndimage.label(mask[box], _NEIGHBOURS)
    sizes = np.sort(np.bincount(parts.ravel())[1:])[::-1]
    return tuple(float(size * voxel_ml) for size in sizes)


def _parts_record(cases: Sequence[CaseFingerprint], value: int) -> dict[str, Any]:
    numbers = [len(case.part_volumes_ml.get(value, ())) for case in cases]
    volumes = [volume for case in cases for volume in case.part_volumes_ml.get(value, ())]
    return {
        "connectivity": "18 neighbours",
        "total": sum(numbers),
        "per_case": _spread(numbers),
        "cases_without": sum(number == 0 for number in numbers),
        "volume_ml": _spread(volumes),
    }


def _extremes(rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    table = np.asarray(rows, np.float64)
    return {
        "least": table.min(axis=0).round(6).tolist(),
        "median": np.median(table, axis=0).round(6).tolist(),
        "largest": table.max(axis=0).round(6).tolist(),
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        "least": round(float(min(values)), 6),
        "median": round(float(np.median(values)), 6),
        "largest": round(float(max(values)), 6),
        "mean": round(float(np.mean(values)), 6),
    }
