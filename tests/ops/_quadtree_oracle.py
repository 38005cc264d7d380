"""The variation of blocks and their selection, block by block in float64 NumPy: a slow, independent oracle."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy

Box = tuple[slice, ...]


def block_box(size: Sequence[int], grid: Sequence[int], last: Sequence[int], place: Sequence[int]) -> Box:
    """Voxels of a block, cut at the border of the image."""
    sides = [math.ceil(s / n) * (n // g) for s, g, n in zip(size, grid, last, strict=True)]
    return tuple(slice(min(i * side, s), min((i + 1) * side, s)) for i, side, s in zip(place, sides, size, strict=True))


def magnitude(image: NDArray[np.float64], spacing: Sequence[float]) -> NDArray[np.float64]:
    parts = [np.gradient(image, h, axis=a) for a, h in enumerate(spacing) if image.shape[a] > 1]
    return np.sqrt(sum(p**2 for p in parts)) if parts else np.zeros_like(image)


def cell_means(values: NDArray[np.float64], box: Box, tile: Sequence[int]) -> list[float]:
    """Means over the cells (a quarter of a tile's side, rounded up) of all tiles of a block."""
    cuts = []
    for s, t in zip(box, tile, strict=True):
        cell = math.ceil(t / 4)
        starts = [a for first in range(s.start, s.stop, t) for a in range(first, min(first + t, s.stop), cell)]
        cuts.append([slice(a, b) for a, b in itertools.pairwise([*starts, s.stop])])
    return [float(values[cell].mean()) for cell in itertools.product(*cuts)]


def variation(
    image: NDArray[np.float64], box: Box, tile: Sequence[int], metric: str, reduce: str, spacing: Sequence[float]
) -> float:
    voxels = image[box]
    if metric == "gradient":
        length = magnitude(image, spacing)
        return max(cell_means(length, box, tile)) if reduce == "max" else float(length[box].mean())
    if metric == "variance":
        return float(voxels.var())
    if metric == "range":
        return float(np.ptp(voxels))
    counts, _ = np.histogram(voxels, bins=32, range=(image.min(), image.max()))
    return float(entropy(counts))


def scores(
    x: NDArray[np.float64], grids: Sequence[Sequence[int]], metric: str, reduce: str, spacing: Sequence[float]
) -> NDArray[np.float64]:
    """[B, sum of blocks], -inf outside the image."""
    size, last = x.shape[2:], grids[-1]
    tile = [math.ceil(s / g) for s, g in zip(size, last, strict=True)]
    rows = []
    for sample in x:
        row = []
        for grid in grids:
            for place in itertools.product(*map(range, grid)):
                box = block_box(size, grid, last, place)
                empty = any(s.start == s.stop for s in box)
                values = [-math.inf] if empty else [variation(c, box, tile, metric, reduce, spacing) for c in sample]
                row.append(max(values))
        rows.append(row)
    return np.array(rows)


def select(
    score: NDArray[np.float64],
    size: Sequence[int],
    grids: Sequence[Sequence[int]],
    keep: Sequence[int],
    limit: Sequence[float],
) -> list[list[int]]:
    """Ascending numbers of the active tiles of every round."""
    last = grids[-1]
    tiles = math.prod(last)
    result: list[list[int]] = [[] for _ in grids]
    for b, row in enumerate(score):
        kept, start = set(itertools.product(*map(range, grids[0]))), 0
        above = grids[0]
        for r, grid in enumerate(grids):
            candidates = []
            for number, place in enumerate(itertools.product(*map(range, grid))):
                parent = tuple(i // (g // a) for i, g, a in zip(place, grid, above, strict=True))
                inside = all(s.start < s.stop for s in block_box(size, grid, last, place))
                value = row[start + number]
                if parent in kept and inside and (not limit or value > limit[r]):
                    candidates.append((-value, number, place))
            kept = {place for _, _, place in sorted(candidates)[: keep[r]]}
            above, start = grid, start + math.prod(grid)
            for number, place in enumerate(itertools.product(*map(range, last))):
                parent = tuple(i // (n // g) for i, n, g in zip(place, last, grid, strict=True))
                inside = all(s.start < s.stop for s in block_box(size, last, last, place))
                if parent in kept and inside:
                    result[r].append(b * tiles + number)
    return result
