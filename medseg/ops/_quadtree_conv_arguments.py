"""What ``medseg::quadtree_conv`` and its reference share: checks, the raster of tiles, the layout of maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medseg.ops._checks import shape_text
from medseg.ops._codes import NO_ACTIVATION, NO_NORM, REPLACE


def grid_of(size: Sequence[int], tile: Sequence[int]) -> tuple[int, ...]:
    """Tiles per axis: the image's size over the tile's side, rounded up."""
    return tuple(-(-s // t) for s, t in zip(size, tile, strict=True))


def layout_of(x: Tensor) -> torch.memory_format:
    """Layout of an output for a map x: channels-last if the channel is the innermost axis of x, else contiguous."""
    if x.shape[1] > 1 and x.stride(1) == 1:
        return torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    return torch.contiguous_format


def keeps_signs(mode: int, activation: int, norm: int) -> bool:
    """Whether the signs of the convolution are saved as bits: if neither ``store`` nor ``pre`` shows them."""
    return norm == NO_NORM and activation != NO_ACTIVATION and mode != REPLACE


def check_rows(name: str, rows: Tensor, rounds: int) -> None:
    """Raises unless a list of tiles is int32 with one row a round."""
    if rows.dtype != torch.int32:
        raise TypeError(f"quadtree_conv: {name} is {rows.dtype}; expected torch.int32")
    if rows.ndim != 2 or rows.shape[0] != rounds:
        raise ValueError(f"quadtree_conv: {name} has shape {shape_text(rows)}; expected [{rounds}, tiles]")


def check_quadtree_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    index: Tensor,
    count: Tensor,
) -> None:
    """Raises ValueError or TypeError unless map, parameters and lists fit together."""
    if x.ndim not in (4, 5) or min(x.shape[1:]) < 1:
        raise ValueError(
            f"quadtree_conv: x has shape {shape_text(x)}; expected [B, C, H, W] or [B, C, D, H, W], not empty"
        )
    channels, d = x.shape[1], x.ndim - 2
    k = weight.shape[-1] if weight.ndim else 0
    if tuple(weight.shape[1:]) != (channels, channels, *[k] * d) or k not in (1, 3, 5) or weight.shape[0] < 1:
        kernel = ", ".join(["k"] * d)
        raise ValueError(
            f"quadtree_conv: weight has shape {shape_text(weight)}; expected [rounds, {channels}, {channels}, "
            f"{kernel}] with k 1, 3 or 5 for x {shape_text(x)}"
        )
    rounds = weight.shape[0]
    for name, p in (("bias", bias), ("scale", scale), ("shift", shift)):
        if p is not None and tuple(p.shape) != (rounds, channels):
            raise ValueError(f"quadtree_conv: {name} has shape {shape_text(p)}; expected [{rounds}, {channels}]")
    check_rows("index", index, rounds)
    if count.dtype != torch.int32:
        raise TypeError(f"quadtree_conv: count is {count.dtype}; expected torch.int32")
    if tuple(count.shape) != (rounds,):
        raise ValueError(f"quadtree_conv: count has shape {shape_text(count)}; expected [{rounds}]")
