"""Plain PyTorch form of `quadtree_plan` and `quadtree_select`: the variation of blocks, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medseg.ops._codes import ENTROPY_BINS
from medseg.ops._quadtree_blocks import (
    active_lists,
    expand_grid,
    inside_mask,
    list_width,
    reduce_blocks,
    tile_sides,
    to_tiles,
)


def reference_scores(
    x: Tensor, grids: Sequence[tuple[int, ...]], metric: str, reduce: str, spacing: Sequence[float]
) -> Tensor:
    """Scores ``[B, sum of blocks]`` of all rounds, round after round in raster order; -inf outside the image."""
    sides = tile_sides(x.shape[2:], grids[-1])
    count = to_tiles(torch.ones_like(x[:1, :1]), sides, grids[-1], 0.0)
    if metric == "gradient":
        magnitude = gradient_magnitude(x, spacing)
        if reduce == "max":
            values = _cell_means(magnitude, sides, grids[-1])
            levels = [reduce_blocks(values, g, "amax") for g in grids]
        else:
            levels = [_moments(magnitude, count, sides, grids[-1], g)[0] for g in grids]
    elif metric == "variance":
        levels = [_moments(x, count, sides, grids[-1], g)[1] for g in grids]
    elif metric == "range":
        top, bottom = (to_tiles(v, sides, grids[-1], -math.inf) for v in (x, -x))
        levels = [reduce_blocks(top, g, "amax") + reduce_blocks(bottom, g, "amax") for g in grids]
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
            candidate = candidate & ~(values <= limit[r])  # NaN stays, so that a broken score is noticed
        order = values.argsort(dim=1, descending=True, stable=True)
        ranked = candidate.gather(1, order)
        ranked = ranked & (ranked.cumsum(1) <= keep[r])
        allowed = torch.zeros_like(candidate).scatter(1, order, ranked).reshape(batch, *grid)
        masks.append(expand_grid(allowed, last))
    mask = torch.stack(masks) & inside_mask(size, last, last, score.device)
    return *active_lists(mask, list_width(batch, grids, keep)), mask


def _moments(
    x: Tensor, count: Tensor, sides: Sequence[int], last: Sequence[int], grid: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over the voxels of the blocks; zero where a block has none."""
    n = reduce_blocks(count, grid, "sum").clamp(min=1)
    mean = reduce_blocks(to_tiles(x, sides, last, 0.0), grid, "sum") / n
    spread = mean
    for axis, (g, t, f) in enumerate(zip(grid, sides, last, strict=True), start=2):
        spread = spread.repeat_interleave(t * f // g, axis)
    window = (slice(None), slice(None), *(slice(s) for s in x.shape[2:]))
    square = to_tiles((x - spread[window]).square(), sides, last, 0.0)
    return mean, reduce_blocks(square, grid, "sum") / n


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
    counts = [to_tiles((bins == k).to(x.dtype), sides, grids[-1], 0.0) for k in range(ENTROPY_BINS)]
    levels = []
    for grid in grids:
        n = torch.stack([reduce_blocks(c, grid, "sum") for c in counts])
        p = n / n.sum(0).clamp(min=1)
        levels.append(torch.where(broken, math.nan, -torch.xlogy(p, p).sum(0)))
    return levels
