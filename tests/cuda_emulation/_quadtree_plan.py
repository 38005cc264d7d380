"""Calls the emulated kernels of quadtree_plan, and the cases that compare them with the CPU op."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medseg.ops import quadtree_plan, quadtree_select
from medseg.ops.quadtree_plan import list_width
from tests.cuda_emulation._emulation import Emulation

Grids = Sequence[tuple[int, ...]]

METRICS = [("gradient", "max"), ("gradient", "mean"), ("variance", "max"), ("range", "max"), ("entropy", "max")]
CASES: list[tuple[tuple[int, ...], Grids]] = [
    ((37, 21), ((2, 2), (4, 4), (8, 8))),
    ((1, 30), ((1, 4), (1, 8))),
    ((9, 13, 17), ((2, 2, 2), (4, 2, 4))),
    ((80, 70), ((2, 2), (4, 4))),
]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def _longs(values: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(values))(*values)


def _doubles(values: Sequence[float]) -> ctypes.Array[ctypes.c_double]:
    return (ctypes.c_double * len(values))(*values)


def _lift(values: Sequence[int], filler: int) -> list[int]:
    """Spatial values as z, y, x."""
    return [*([filler] if len(values) == 2 else []), *values]


def emulate(
    emulation: Emulation,
    x: Tensor | None,
    score: Tensor,
    size: tuple[int, ...],
    grids: Grids,
    keep: Sequence[int],
    limit: Sequence[float] = (),
    code: int = 0,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Runs the launcher's sequence; without x only the selection by the given scores."""
    batch, rounds, width = score.shape[0], len(grids), list_width(score.shape[0], list(grids), keep)
    channels = 1 if x is None else x.shape[1]
    numbers = [batch, channels, rounds, *_lift(size, 1), *(n for g in grids for n in _lift(g, 1)), *keep]
    strides = [0] * 5 if x is None else [*x.stride()[:2], *_lift(x.stride()[2:], 0)]
    index = torch.empty(rounds, width, dtype=torch.int32)
    count = torch.empty(rounds, dtype=torch.int32)
    mask = torch.empty(rounds, batch, *grids[-1], dtype=torch.bool)
    function = getattr(emulation.library, f"emu_quadtree_plan_{'f64' if score.dtype == torch.float64 else 'f32'}")
    pointers = [None if t is None else ctypes.c_void_p(t.data_ptr()) for t in (x, score, index, count, mask)]
    function(
        _longs(numbers),
        _longs(strides),
        _doubles([*([1.0] * (3 - len(size))), *spacing[-len(size) :]]),
        _doubles(limit) if limit else None,
        ctypes.c_int64(code),
        ctypes.c_int64(width),
        *pointers,
    )
    return index, count, mask, score


def compare_plan(
    emulation: Emulation, size: tuple[int, ...], grids: Grids, code: int, dtype: torch.dtype, limited: bool = False
) -> float:
    """Largest relative error of the scores on a strided image; inf if the selection among them differs."""
    generator = torch.Generator().manual_seed(sum(size))
    x = torch.randn(2, 2, *size, generator=generator, dtype=torch.float64).to(dtype).mT.contiguous().mT
    keep = [max(1, math.prod(g) // 2 ** (r + 1)) for r, g in enumerate(grids)]
    limit = [1.0] * len(grids) if limited else []
    spacing = (2.5, 0.8, 0.7)
    metric, reduce = METRICS[code]
    *_, expected = quadtree_plan(x.double(), grids, keep, limit, metric, reduce, spacing[-len(size) :])
    score = torch.empty(expected.shape, dtype=dtype)
    found = emulate(emulation, x, score, size, grids, keep, limit, code, spacing)
    wanted = quadtree_select(score, size, grids, keep, limit)
    if not all(torch.equal(a, b) for a, b in zip(found[:3], wanted, strict=True)):
        return math.inf
    inside = expected.isfinite()
    if not torch.equal(score.isfinite(), inside):
        return math.inf
    return ((score.double() - expected)[inside].abs().max() / expected[inside].abs().max().clamp(min=1)).item()
