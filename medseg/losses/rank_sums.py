"""Sums and means over the samples of all processes of a group, with their gradient.

`DistributedDataParallel` averages the gradients of the processes. A loss that is no mean over samples, such as the Dice
of a whole batch, is then not the loss of the joint batch. Here every process computes the same global loss from sums
over all processes. The gradient of each sum is multiplied by the number of processes, which the average then divides
out: what the optimiser sees is the gradient of the global loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "each_rank_alone",
    "let_count",
    "mean_over_ranks",
    "not_counted",
    "ratio_over_ranks",
    "several_ranks",
    "sum_over_ranks",
]

_ALONE: ContextVar[bool] = ContextVar("each_rank_alone", default=False)
_COUNTED: ContextVar[bool] = ContextVar("counted", default=True)


def several_ranks() -> bool:
    """True in a process group of two or more, unless `each_rank_alone` is active."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1 and not _ALONE.get()


@contextmanager
def each_rank_alone() -> Iterator[None]:
    """Inside the ``with`` block, losses see the samples of their own process only."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


@contextmanager
def not_counted() -> Iterator[None]:
    """Inside the ``with`` block, the samples of this process add nothing to any sum over the processes.

    For a process that has no sample of a batch left: it computes a stand-in, so that all processes meet in every
    exchange of numbers, and gets gradients of 0.
    """
    token = _COUNTED.set(False)
    try:
        yield
    finally:
        _COUNTED.reset(token)


def let_count(samples: bool) -> None:
    """Set from here on whether the samples of this process count in sums over the processes (see `not_counted`)."""
    _COUNTED.set(samples)


class _AllSum(torch.autograd.Function):
    """The sum over the processes; its gradient is multiplied by their number."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * dist.get_world_size()


def sum_over_ranks(*values: Tensor) -> list[Tensor]:
    """Each tensor summed over all processes, all of them in one exchange; without a group, the tensors themselves.

    Args:
        *values: floating point tensors; their shapes are the same in all processes.
    """
    if not several_ranks():
        return list(values)
    plain = [v.as_subclass(Tensor) for v in values]
    wide = torch.float64 if any(v.dtype == torch.float64 for v in plain) else torch.float32
    joint = torch.cat([v.reshape(-1).to(wide) for v in plain])
    total = _AllSum.apply(joint if _COUNTED.get() else joint * 0)
    parts = total.split([v.numel() for v in plain])
    return [part.reshape(v.shape).to(v.dtype) for part, v in zip(parts, plain, strict=True)]


def ratio_over_ranks(total: Tensor, count: Tensor | float) -> Tensor:
    """``total / count``, both summed over all processes first; total and count are scalars."""
    if not several_ranks():
        return total / count
    total, count = sum_over_ranks(total, torch.as_tensor(count, dtype=total.dtype, device=total.device))
    return total / count


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of all elements in all processes, which may hold different numbers of them."""
    return ratio_over_ranks(values.sum(), values.numel()) if several_ranks() else values.mean()
