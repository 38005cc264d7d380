"""Windows on maps of two or three axes: the checks and sums that the texture ops share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import check_floating, check_same_device, shape_text
from medseg.ops._codes import MAX_WINDOW


def check_window(op: str, x: Tensor, mask: Tensor | None, window: int | Sequence[int]) -> list[int]:
    """The side of the window along each axis.

    Raises:
        ValueError: for a map that has not two or three spatial axes, sides that are not odd, a window of more than
            32767 voxels, or a mask that does not fit.
        TypeError: for dtypes that do not fit.
    """
    check_floating(op, x=x)
    if x.ndim not in (4, 5):
        raise ValueError(f"{op}: x has shape {shape_text(x)}; expected [B, C, H, W] or [B, C, D, H, W]")
    sides = [window] * (x.ndim - 2) if isinstance(window, int) else [int(w) for w in window]
    if len(sides) != x.ndim - 2 or any(w < 1 or w % 2 == 0 for w in sides):
        raise ValueError(f"{op}: window is {window}; expected {x.ndim - 2} odd numbers of voxels, or one for all axes")
    if math.prod(sides) > MAX_WINDOW:
        raise ValueError(f"{op}: window {sides} has {math.prod(sides)} voxels; expected at most {MAX_WINDOW}")
    if mask is not None:
        check_same_device(op, x=x, mask=mask)
        if mask.dtype != torch.bool:
            raise TypeError(f"{op}: mask is {mask.dtype}; expected torch.bool")
        if mask.shape not in (x.shape, (x.shape[0], 1, *x.shape[2:])):
            raise ValueError(f"{op}: mask has shape {shape_text(mask)}; expected {shape_text(x)}, or one channel")
    return sides


def full_mask(x: Tensor, mask: Tensor | None) -> Tensor | None:
    """The mask with as many channels as x."""
    return mask if mask is None else mask.expand_as(x)


def window_sum(x: Tensor, spans: Sequence[tuple[int, int]]) -> Tensor:
    """Sums over ``x[p + low .. p + high]`` along every trailing axis; positions outside of x count as 0."""
    result: Tensor = _WindowSum.apply(x, tuple(spans))
    return result


class _WindowSum(torch.autograd.Function):
    """The sums, added up in place: autograd would keep or copy a map for every step of the window."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, spans: tuple[tuple[int, int], ...]) -> Tensor:
        ctx.spans = spans
        for axis, (low, high) in enumerate(spans, start=x.ndim - len(spans)):
            size, total = x.shape[axis], torch.zeros_like(x)
            for step in range(max(low, 1 - size), min(high, size - 1) + 1):
                kept = size - abs(step)
                total.narrow(axis, max(-step, 0), kept).add_(x.narrow(axis, max(step, 0), kept))
            x = total
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # x[q] is in the window of p for q - high <= p <= q - low.
        return window_sum(grad, [(-high, -low) for low, high in ctx.spans]), None
