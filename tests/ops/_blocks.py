"""The definition of the block convolution, tile by tile with slices: an independent oracle."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def least_grid(sizes: Sequence[int], tile: Sequence[int]) -> list[int]:
    return [-(-s // t) for s, t in zip(sizes, tile, strict=True)]


def tile_slices(number: int, tile: Sequence[int], grid: Sequence[int]) -> tuple[int, tuple[slice, ...]]:
    """Batch and slices (clipped by the map when used) of a tile."""
    corners = list(itertools.product(*map(range, grid)))
    batch, rest = divmod(number, len(corners))
    return batch, tuple(slice(c * t, (c + 1) * t) for c, t in zip(corners[rest], tile, strict=True))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    function = torch.nn.functional.conv2d if x.ndim == 4 else torch.nn.functional.conv3d
    return function(x, weight, bias, padding=weight.shape[-1] // 2)


def tiles_of(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    index: Tensor,
    tile: Sequence[int],
    grid: Sequence[int] | None = None,
    zero_halo: bool = False,
) -> Iterator[tuple[int, int, tuple[slice, ...], Tensor]]:
    """Row, batch, slices and value of every active tile, cut at the border of the map."""
    dense = convolve(x, weight, bias)
    for row, number in enumerate(index.tolist()):
        if number < 0:
            continue
        batch, cut = tile_slices(number, tile, grid or least_grid(x.shape[2:], tile))
        at = (slice(batch, batch + 1), slice(None), *cut)
        if x[at].numel():
            yield row, batch, cut, convolve(x[at], weight, bias)[0] if zero_halo else dense[at][0]


def literal_block_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor, tile: Sequence[int], *, packed: bool, **options
) -> Tensor:
    """Dense convolution of which the active tiles are kept, as tiles or as a map."""
    shape = (len(index), weight.shape[0], *tile) if packed else (x.shape[0], weight.shape[0], *x.shape[2:])
    out = x.new_zeros(shape)
    for row, batch, cut, value in tiles_of(x, weight, bias, index, tile, **options):
        place = (row, slice(None), *(slice(0, s) for s in value.shape[1:])) if packed else (batch, slice(None), *cut)
        mask = torch.zeros(shape, dtype=torch.bool)
        mask[place] = True
        out = out.masked_scatter(mask, value)
    return out


def problem(
    shape: tuple[int, ...],
    outputs: int,
    kernel: int,
    tile: Sequence[int],
    active: float = 0.5,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random x, weight, bias (all with gradients) and a shuffled list of tiles with a -1 in it."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (shape, (outputs, shape[1], *[kernel] * (len(shape) - 2)), (outputs,))
    x, weight, bias = (torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in sizes)
    tiles = shape[0] * math.prod(least_grid(shape[2:], tile))
    chosen = torch.randperm(tiles, generator=generator)[: max(1, round(active * tiles))]
    index = torch.cat([chosen, torch.tensor([-1])])[torch.randperm(len(chosen) + 1, generator=generator)]
    return x, weight, bias, index.int()
