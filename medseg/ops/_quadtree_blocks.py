"""Grids, blocks and tiles of a partition: what `quadtree_plan`, its reference and `medseg.partition` share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


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


def inside_mask(size: Sequence[int], grid: Sequence[int], last: Sequence[int], device: torch.device) -> Tensor:
    """bool ``[*grid]``: which blocks of a round reach into the image."""
    mask = torch.ones((), dtype=torch.bool, device=device)
    for axis, (g, n) in enumerate(zip(grid, blocks_inside(size, grid, last), strict=True)):
        line = torch.arange(g, device=device) < n
        mask = mask & line.reshape([g if a == axis else 1 for a in range(len(grid))])
    return mask


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


def to_tiles(x: Tensor, sides: Sequence[int], grid: Sequence[int], fill: float) -> Tensor:
    """The map filled up to whole tiles, as ``[B, C, *(grid * sides)]``."""
    pads: list[int] = []
    for s, t, g in reversed(list(zip(x.shape[2:], sides, grid, strict=True))):
        pads += [0, t * g - s]
    return torch.nn.functional.pad(x, pads, value=fill)


def reduce_blocks(x: Tensor, grid: Sequence[int], how: str) -> Tensor:
    """Sum or maximum over the blocks of a grid that divides the map; ``[B, C, *grid]``."""
    shape = [*x.shape[:2], *(v for s, g in zip(x.shape[2:], grid, strict=True) for v in (g, s // g))]
    axes = list(range(3, 3 + 2 * len(grid), 2))
    cut = x.reshape(shape)
    return cut.amax(axes) if how == "amax" else cut.sum(axes)


def pool_blocks(x: Tensor, grids: Sequence[tuple[int, ...]], reduce: str) -> Tensor:
    """Scores ``[B, sum of blocks]`` of a map ``[B, C, *S]``: maximum or mean over the voxels of a block.

    The maximum over the channels is taken. Plain differentiable code; -inf for blocks without a voxel.
    """
    sides = tile_sides(x.shape[2:], grids[-1])
    if reduce == "max":
        levels = [reduce_blocks(to_tiles(x, sides, grids[-1], -math.inf), grids[-1], "amax")]
        for grid in reversed(grids[:-1]):
            levels.insert(0, reduce_blocks(levels[0], grid, "amax"))
    else:
        count = to_tiles(torch.ones_like(x[:1, :1]), sides, grids[-1], 0.0)
        sums = to_tiles(x, sides, grids[-1], 0.0)
        levels = []
        for grid in grids:
            n = reduce_blocks(count, grid, "sum")
            levels.append(torch.where(n > 0, reduce_blocks(sums, grid, "sum") / n.clamp(min=1), -math.inf))
    return torch.cat([level.amax(1).flatten(1) for level in levels], 1)
