"""Tiles of a map in plain PyTorch: gather them into a batch of small maps, scatter them back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medseg.ops._checks import shape_text


def tile_raster(
    op: str, sizes: Sequence[int], tile: int | Sequence[int], grid: Sequence[int] | None = None
) -> tuple[list[int], list[int]]:
    """Sides of a tile and number of tiles along every axis.

    Args:
        op: name to put before an error.
        sizes: spatial size of the map.
        tile: side of a tile, one number for all axes or one per axis.
        grid: tiles per axis; None or empty for the smallest number that covers the map.

    Returns:
        ``(tile, grid)``, one number per axis each.

    Raises:
        ValueError: if a number is missing or the tiles do not cover the map.
    """
    sides = [tile] * len(sizes) if isinstance(tile, int) else list(tile)
    if len(sides) != len(sizes) or any(t < 1 for t in sides):
        raise ValueError(f"{op}: tile is {tile}; expected {len(sizes)} sides of at least 1")
    least = [-(-s // t) for s, t in zip(sizes, sides, strict=True)]
    counts = list(grid) if grid else least
    if len(counts) != len(sizes) or any(g < n for g, n in zip(counts, least, strict=True)):
        raise ValueError(f"{op}: grid is {counts} tiles of {sides}; expected at least {least} to cover {list(sizes)}")
    return sides, counts


def check_index(op: str, index: Tensor) -> None:
    """Raises unless index is a list ``[A]`` of int32."""
    if index.dtype != torch.int32:
        raise TypeError(f"{op}: index is {index.dtype}; expected torch.int32")
    if index.ndim != 1:
        raise ValueError(f"{op}: index has shape {shape_text(index)}; expected [A]")


def _check_numbers(op: str, index: Tensor, tiles: int) -> None:
    """Raises for a number out of range or named twice. On the CPU only: CUDA would need a synchronisation."""
    check_index(op, index)
    if index.device.type != "cpu" or torch.compiler.is_compiling() or type(index) is not Tensor or len(index) == 0:
        return
    least, most = int(index.min()), int(index.max())
    if least < -1 or most >= tiles:
        wrong = least if least < -1 else most
        raise ValueError(f"{op}: index holds tile {wrong}; expected -1 or 0..{tiles - 1} (batch x grid)")
    named, times = index[index >= 0].unique(return_counts=True)
    if (times > 1).any():
        twice = int(named[times > 1][0])
        raise ValueError(f"{op}: index holds tile {twice} twice; expected every tile once")


def _to_rows(x: Tensor, tile: Sequence[int], grid: Sequence[int]) -> Tensor:
    """All tiles ``[B * prod(grid), C, *tile]``; positions outside the map are 0."""
    d = len(tile)
    padding = [g * t - s for g, t, s in zip(grid, tile, x.shape[2:], strict=True)]
    padded = torch.nn.functional.pad(x, [v for p in reversed(padding) for v in (0, p)])
    split = padded.reshape(*x.shape[:2], *(v for g, t in zip(grid, tile, strict=True) for v in (g, t)))
    rows = split.permute(0, *range(2, 2 + 2 * d, 2), 1, *range(3, 3 + 2 * d, 2))
    return rows.reshape(x.shape[0] * math.prod(grid), x.shape[1], *tile)


def _from_rows(rows: Tensor, batch: int, sizes: Sequence[int], grid: Sequence[int]) -> Tensor:
    """Inverse of `_to_rows`."""
    tile, d = rows.shape[2:], len(sizes)
    split = rows.reshape(batch, *grid, rows.shape[1], *tile)
    joined = split.permute(0, 1 + d, *(v for i in range(d) for v in (1 + i, 2 + d + i)))
    full = joined.reshape(batch, rows.shape[1], *(g * t for g, t in zip(grid, tile, strict=True)))
    inside = (slice(None), slice(None), *(slice(0, s) for s in sizes))
    return full[inside]


def gather_tiles(x: Tensor, index: Tensor, tile: int | Sequence[int], grid: Sequence[int] | None = None) -> Tensor:
    """Copies the tiles of a map that a list names.

    The map is covered by a raster of equal tiles; tile numbers run over (batch, \\*grid), last axis fastest.

    Args:
        x: ``[B, C, H, W]`` or ``[B, C, D, H, W]``.
        index: int32 ``[A]``, tile numbers in any order; -1 gives a row of zeros.
        tile: side of a tile in voxels, one number or one per axis.
        grid: tiles per axis, if that is more than needed to cover the map.

    Returns:
        ``[A, C, *tile]``; positions outside the map are 0.

    Raises:
        ValueError: for a raster that does not cover the map, or a number outside of it.
        TypeError: if index is not int32.

    Example:
        >>> import torch
        >>> from medseg.ops import gather_tiles
        >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> gather_tiles(x, torch.tensor([3], dtype=torch.int32), tile=2).tolist()
        [[[[10.0, 11.0], [14.0, 15.0]]]]
    """
    sides, counts = tile_raster("gather_tiles", x.shape[2:], tile, grid)
    _check_numbers("gather_tiles", index, x.shape[0] * math.prod(counts))
    picked = _to_rows(x, sides, counts).index_select(0, index.clamp(min=0))
    return torch.where((index >= 0).reshape(-1, *[1] * (x.ndim - 1)), picked, torch.zeros_like(picked))


def scatter_tiles(
    tiles: Tensor, index: Tensor, base: Tensor | Sequence[int], grid: Sequence[int] | None = None
) -> Tensor:
    """Puts tiles into a map: the inverse of `gather_tiles`.

    Args:
        tiles: ``[A, C, *tile]``.
        index: int32 ``[A]``, the tile's number for every row, each at most once; rows of -1 are dropped.
        base: map ``[B, C, *S]`` whose values stay where there is no tile, or a shape ``(B, C, *S)`` for zeros.
        grid: tiles per axis, if that is more than needed to cover the map.

    Returns:
        New map ``[B, C, *S]`` in the dtype of tiles.

    Raises:
        ValueError: for shapes that do not fit, or a number outside of the raster.
        TypeError: if index is not int32.

    Example:
        >>> import torch
        >>> from medseg.ops import scatter_tiles
        >>> scatter_tiles(torch.ones(1, 1, 1, 2), torch.tensor([1], dtype=torch.int32), (1, 1, 2, 2)).tolist()
        [[[[0.0, 0.0], [1.0, 1.0]]]]
    """
    shape = tuple(base.shape) if isinstance(base, Tensor) else tuple(base)
    if len(tiles) != len(index) or len(shape) != tiles.ndim or shape[1] != tiles.shape[1]:
        raise ValueError(
            f"scatter_tiles: {shape_text(tiles)} tiles and {shape_text(index)} numbers for a map {list(shape)}; "
            "expected [A, C, *tile], [A] and [B, C, *S]"
        )
    sides, counts = tile_raster("scatter_tiles", shape[2:], tuple(tiles.shape[2:]), grid)
    total = shape[0] * math.prod(counts)
    _check_numbers("scatter_tiles", index, total)
    if isinstance(base, Tensor):
        rows = _to_rows(base.to(tiles.dtype), sides, counts)
    else:
        rows = tiles.new_zeros(total, *tiles.shape[1:])
    spare = tiles.new_zeros(1, *tiles.shape[1:])  # where rows of -1 go
    at = torch.where(index >= 0, index, total).long()
    filled = torch.cat([rows, spare]).index_copy(0, at, tiles)[:total]
    return _from_rows(filled, shape[0], shape[2:], counts)
