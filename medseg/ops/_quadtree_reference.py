"""Plain PyTorch form of `quadtree_plan` and `quadtree_select`: the variation of blocks, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

METRICS = ("gradient", "variance", "range", "entropy")
REDUCTIONS = ("max", "mean")
ENTROPY_BINS = 32


def split_levels(flat: Sequence[int], dims: int) -> list[tuple[int, ...]]:
    """The grids of the rounds out of one flat list."""
    return [tuple(flat[i : i + dims]) for i in range(0, len(flat), dims)]


def tile_sides(size: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """Side of a tile along each axis: ``ceil(size / grid)``."""
    return tuple(-(-s // g) for s, g in zip(size, grid, strict=True))


def blocks_inside(size: Sequence[int], grid: Sequence[int], last: Sequence[int]) -> tuple[int, ...]:
    """Blocks of a round along each axis that reach into the image; ``last`` is the grid of tiles."""
    tiles = (-(-s // t) for s, t in zip(size, tile_sides(size, last), strict=True))
    return tuple(-(-n * g // f) for n, g, f in zip(tiles, grid, last, strict=True))


def reference_scores(
    x: Tensor, grids: Sequence[tuple[int, ...]], metric: str, reduce: str, spacing: Sequence[float]
) -> Tensor:
    """Scores ``[B, sum of blocks]`` of all rounds, round after round in raster order; -inf outside the image."""
    sides = tile_sides(x.shape[2:], grids[-1])
    count = _to_tiles(torch.ones_like(x[:1, :1]), sides, grids[-1], 0.0)
    if metric == "gradient":
        magnitude = gradient_magnitude(x, spacing)
        if reduce == "max":
            values = _cell_means(magnitude, sides, grids[-1])
            levels = [_reduce(values, g, "amax") for g in grids]
        else:
            levels = [_moments(magnitude, count, sides, grids[-1], g)[0] for g in grids]
    elif metric == "variance":
        levels = [_moments(x, count, sides, grids[-1], g)[1] for g in grids]
    elif metric == "range":
        top, bottom = (_to_tiles(v, sides, grids[-1], -math.inf) for v in (x, -x))
        levels = [_reduce(top, g, "amax") + _reduce(bottom, g, "amax") for g in grids]
    else:
        levels = _entropies(x, sides, grids)
    scores = []
    for level, grid in zip(levels, grids, strict=True):
        inside = inside_mask(x.shape[2:], grid, grids[-1], x.device)
        scores.append(torch.where(inside, level.amax(1), -math.inf).flatten(1))
    return torch.cat(scores, 1)


def gradient_magnitude(x: Tensor, spacing: Sequence[float]) -> Tensor:
    """Length of the gradient by central differences, one-sided at the border of the image; ``[B, C, *S]``."""
    total = torch.zeros_like(x)
    for axis, step in enumerate(spacing, start=2):
        n = x.shape[axis]
        if n < 2:
            continue
        inner = (x.narrow(axis, 2, n - 2) - x.narrow(axis, 0, n - 2)) * (0.5 / step)
        first = (x.narrow(axis, 1, 1) - x.narrow(axis, 0, 1)) * (1.0 / step)
        last = (x.narrow(axis, n - 1, 1) - x.narrow(axis, n - 2, 1)) * (1.0 / step)
        total = total + torch.cat([first, inner, last], axis).square()
    return total.sqrt()


def inside_mask(size: Sequence[int], grid: Sequence[int], last: Sequence[int], device: torch.device) -> Tensor:
    """bool ``[*grid]``: which blocks of a round reach into the image."""
    mask = torch.ones((), dtype=torch.bool, device=device)
    for axis, (g, n) in enumerate(zip(grid, blocks_inside(size, grid, last), strict=True)):
        line = torch.arange(g, device=device) < n
        mask = mask & line.reshape([g if a == axis else 1 for a in range(len(grid))])
    return mask


def reference_select(
    score: Tensor, size: Sequence[int], grids: Sequence[tuple[int, ...]], keep: Sequence[int], limit: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Lists, counts and masks of the rounds from scores ``[B, sum of blocks]``."""
    batch, last = score.shape[0], grids[-1]
    masks, start = [], 0
    allowed = torch.ones(batch, *(1 for _ in last), dtype=torch.bool, device=score.device)
    for r, grid in enumerate(grids):
        values = score[:, start : start + math.prod(grid)]
        start += math.prod(grid)
        candidate = expand_grid(allowed, grid) & inside_mask(size, grid, last, score.device)
        candidate = candidate.flatten(1)
        if limit:
            candidate = candidate & ~(values <= limit[r])  # NaN stays: a broken score shows
        order = values.argsort(dim=1, descending=True, stable=True)
        ranked = candidate.gather(1, order)
        ranked = ranked & (ranked.cumsum(1) <= keep[r])
        allowed = torch.zeros_like(candidate).scatter(1, order, ranked).reshape(batch, *grid)
        masks.append(expand_grid(allowed, last))
    mask = torch.stack(masks) & inside_mask(size, last, last, score.device)
    return *active_lists(mask, list_width(batch, grids, keep)), mask


def active_lists(mask: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Numbers of the active tiles of masks ``[R, B, *grid]`` in ascending order, padded by -1 to ``width``; counts."""
    flat = mask.flatten(1)
    total = flat.shape[1]
    numbers = torch.arange(total, dtype=torch.int32, device=mask.device).expand(flat.shape)
    ordered = torch.where(flat, numbers, total).sort(1).values[:, :width]
    return torch.where(ordered == total, -1, ordered).int(), flat.sum(1, dtype=torch.int32)


def list_width(batch: int, grids: Sequence[tuple[int, ...]], keep: Sequence[int]) -> int:
    """Tiles that the longest of the lists can hold."""
    tiles = math.prod(grids[-1])
    return batch * max(min(tiles, k * (tiles // math.prod(g))) for g, k in zip(grids, keep, strict=True))


def expand_grid(mask: Tensor, grid: Sequence[int]) -> Tensor:
    """``[B, *coarse]`` at a finer grid, every block repeated over its children."""
    for axis, g in enumerate(grid, start=1):
        mask = mask.repeat_interleave(g // mask.shape[axis], axis)
    return mask


def _to_tiles(x: Tensor, sides: Sequence[int], grid: Sequence[int], fill: float) -> Tensor:
    """The map filled up to whole tiles, as ``[B, C, *(grid * sides)]``."""
    pads: list[int] = []
    for s, t, g in reversed(list(zip(x.shape[2:], sides, grid, strict=True))):
        pads += [0, t * g - s]
    return torch.nn.functional.pad(x, pads, value=fill)


def _reduce(x: Tensor, grid: Sequence[int], how: str) -> Tensor:
    """Sum or maximum over the blocks of a grid that divides the map; ``[B, C, *grid]``."""
    shape = [*x.shape[:2], *(v for s, g in zip(x.shape[2:], grid, strict=True) for v in (g, s // g))]
    axes = list(range(3, 3 + 2 * len(grid), 2))
    cut = x.reshape(shape)
    return cut.amax(axes) if how == "amax" else cut.sum(axes)


def _moments(
    x: Tensor, count: Tensor, sides: Sequence[int], last: Sequence[int], grid: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over the voxels of the blocks; zero where a block has none."""
    n = _reduce(count, grid, "sum").clamp(min=1)
    mean = _reduce(_to_tiles(x, sides, last, 0.0), grid, "sum") / n
    spread = mean
    for axis, (g, t, f) in enumerate(zip(grid, sides, last, strict=True), start=2):
        spread = spread.repeat_interleave(t * f // g, axis)
    window = (slice(None), slice(None), *(slice(s) for s in x.shape[2:]))
    square = _to_tiles((x - spread[window]).square(), sides, last, 0.0)
    return mean, _reduce(square, grid, "sum") / n


def pool_blocks(x: Tensor, grids: Sequence[tuple[int, ...]], reduce: str) -> Tensor:
    """Scores ``[B, sum of blocks]`` of a map ``[B, C, *S]``: maximum or mean over the voxels of a block.

    The maximum over the channels is taken. Plain differentiable code; -inf for blocks without a voxel.
    """
    sides = tile_sides(x.shape[2:], grids[-1])
    if reduce == "max":
        levels = [_reduce(_to_tiles(x, sides, grids[-1], -math.inf), grids[-1], "amax")]
        for grid in reversed(grids[:-1]):
            levels.insert(0, _reduce(levels[0], grid, "amax"))
    else:
        count = _to_tiles(torch.ones_like(x[:1, :1]), sides, grids[-1], 0.0)
        sums = _to_tiles(x, sides, grids[-1], 0.0)
        levels = []
        for grid in grids:
            n = _reduce(count, grid, "sum")
            levels.append(torch.where(n > 0, _reduce(sums, grid, "sum") / n.clamp(min=1), -math.inf))
    return torch.cat([level.amax(1).flatten(1) for level in levels], 1)


def cell_sides(sides: Sequence[int]) -> tuple[int, ...]:
    """Side of a cell along each axis: a quarter of a tile's side, rounded up."""
    return tuple(-(-t // 4) for t in sides)


def _cell_means(x: Tensor, sides: Sequence[int], grid: Sequence[int]) -> Tensor:
    """Mean over every cell ``[B, C, *(grid * cells of a tile)]``; -inf where a cell lies outside the image."""
    sums, count = x, torch.ones_like(x[:1, :1])
    for axis, (t, c, g) in enumerate(zip(sides, cell_sides(sides), grid, strict=True), start=2):
        cells = -(-t // c)
        at = torch.arange(x.shape[axis], device=x.device)
        number = at // t * cells + at % t // c
        sums, count = (
            v.new_zeros([*v.shape[:axis], g * cells, *v.shape[axis + 1 :]]).index_add_(axis, number, v)
            for v in (sums, count)
        )
    return torch.where(count > 0, sums / count.clamp(min=1), -math.inf)


def _entropies(x: Tensor, sides: Sequence[int], grids: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Entropy in nats of the histogram of every block, per channel."""
    voxels = x.flatten(2)
    low, high = voxels.amin(2), voxels.amax(2)
    span = high - low
    factor = torch.where(span > 0, ENTROPY_BINS / span, 0.0)
    shape = [*x.shape[:2], *(1 for _ in grids[0])]
    broken = ~span.isfinite().reshape(shape)
    bins = torch.where(broken, 0.0, (x - low.reshape(shape)) * factor.reshape(shape)).clamp(0, ENTROPY_BINS - 1).int()
    counts = [_to_tiles((bins == k).to(x.dtype), sides, grids[-1], 0.0) for k in range(ENTROPY_BINS)]
    levels = []
    for grid in grids:
        n = torch.stack([_reduce(c, grid, "sum") for c in counts])
        p = n / n.sum(0).clamp(min=1)
        levels.append(torch.where(broken, math.nan, -torch.xlogy(p, p).sum(0)))
    return levels
