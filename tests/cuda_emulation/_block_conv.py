"""Calls the emulated kernels of block_conv, and compares them with masked dense convolution in float64."""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple

import torch
from torch import Tensor

from tests.cuda_emulation._emulation import Emulation, error, longs, pointer

SUFFIX = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16", torch.float16: "f16"}
LIMIT = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2, torch.float16: 3e-3}


class Case(NamedTuple):
    """A map ``[batch, channels, *size]``, a kernel of side `kernel` to `out` channels, and the active tiles."""

    batch: int
    channels: int
    out: int
    size: tuple[int, ...]
    tile: tuple[int, ...]
    kernel: int
    index: tuple[int, ...]
    zero_halo: bool = False
    packed: bool = True
    channels_last: bool = False
    bias: bool = True


# Odd channel counts, batch 2, sides that tiles do not divide, tiles that stick out, tiles smaller than the halo.
CASES = [
    Case(2, 3, 5, (10, 13), (4, 4), 3, (0, 5, 1, -1, 23, 14, 11)),
    Case(1, 17, 24, (16, 16), (8, 8), 3, (0, 3), channels_last=True),
    Case(1, 24, 33, (20, 24), (16, 16), 3, (3, 0, 1), channels_last=True, packed=False),
    Case(2, 1, 1, (9, 9), (5, 3), 5, (0, 2, 3, 8, -1), packed=False),
    Case(1, 40, 70, (8, 8), (2, 2), 1, (15, 7, 3, -1, 0)),
    Case(1, 2, 3, (28, 24), (4, 4), 3, tuple(range(41, -1, -1))),
    Case(2, 8, 16, (12, 8), (4, 8), 3, (1, 0, 5), zero_halo=True, channels_last=True),
    Case(1, 5, 3, (7, 9), (3, 4), 5, (0, 4, 8, 7), zero_halo=True, packed=False, bias=False),
    Case(1, 4, 4, (12, 12), (1, 1), 5, tuple(range(0, 144, 7))),
    Case(2, 3, 17, (6, 7, 9), (4, 4, 4), 3, (0, 11, 6, 5)),
    Case(1, 8, 8, (8, 8, 8), (8, 8, 8), 3, (0,), channels_last=True),
    Case(1, 2, 3, (5, 8, 8), (4, 4, 4), 5, (1, 4, -1), zero_halo=True, packed=False),
    Case(1, 4, 2, (4, 6, 8), (2, 3, 4), 1, (7, 0), channels_last=True),
    Case(1, 3, 3, (8, 8), (4, 4), 3, (-1, -1)),
    Case(1, 3, 3, (8, 8), (4, 4), 3, ()),
]


def _triple(values: tuple[int, ...]) -> list[int]:
    return [*([1] if len(values) == 2 else []), *values]


def _five(strides: tuple[int, ...]) -> list[int]:
    return [*strides[:2], *([0] if len(strides) == 4 else []), *strides[2:]]


def grid_of(case: Case) -> tuple[int, ...]:
    """Tiles per axis."""
    return tuple(-(-s // t) for s, t in zip(case.size, case.tile, strict=True))


def cut(map_: Tensor, tile: tuple[int, ...]) -> Tensor:
    """Tiles ``[batch * grid, channels, *tile]`` of a map, padded by zeros."""
    d = len(tile)
    missing = [-s % t for s, t in zip(map_.shape[2:], tile, strict=True)]
    padded = torch.nn.functional.pad(map_, [v for m in reversed(missing) for v in (0, m)])
    for axis, t in enumerate(tile):
        padded = padded.unfold(2 + axis, t, t)
    return padded.movedim(1, 1 + d).flatten(0, d)


def masked(case: Case, tiles: Tensor) -> Tensor:
    """Bool map ``[batch, 1, *size]`` of the listed tiles."""
    grid = grid_of(case)
    active = torch.zeros(case.batch * math.prod(grid), dtype=torch.bool)
    active[tiles[tiles >= 0].long()] = True
    mask = active.reshape(case.batch, 1, *grid)
    for axis, (side, size) in enumerate(zip(case.tile, case.size, strict=True)):
        mask = mask.repeat_interleave(side, 2 + axis).narrow(2 + axis, 0, size)
    return mask


def plain(case: Case, x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor) -> Tensor:
    """The definition, by dense convolution."""
    dense = torch.nn.functional.conv2d if len(case.size) == 2 else torch.nn.functional.conv3d
    if case.zero_halo:
        tiles = cut(x, case.tile)
        inside = cut(torch.ones_like(x[:, :1]), case.tile)
        values = dense(tiles, weight, bias, padding=case.kernel // 2) * inside
    else:
        values = cut(dense(x, weight, bias, padding=case.kernel // 2), case.tile)
    valid = (index >= 0).reshape(-1, *[1] * (values.ndim - 1))
    chosen = torch.where(valid, values[index.clamp(min=0).long()], 0.0)
    if case.packed:
        return chosen
    kept = torch.zeros_like(values).index_add(0, index.clamp(min=0).long(), chosen)
    return _paste(kept, case)


def _paste(tiles: Tensor, case: Case) -> Tensor:
    d, grid = len(case.size), grid_of(case)
    split = tiles.reshape(case.batch, *grid, tiles.shape[1], *case.tile)
    order = [0, 1 + d, *(v for i in range(d) for v in (1 + i, 2 + d + i))]
    whole = split.permute(order).reshape(
        case.batch, tiles.shape[1], *(g * t for g, t in zip(grid, case.tile, strict=True))
    )
    for axis, size in enumerate(case.size):
        whole = whole.narrow(2 + axis, 0, size)
    return whole


def _format(case: Case) -> torch.memory_format:
    if not case.channels_last:
        return torch.contiguous_format
    return torch.channels_last if len(case.size) == 2 else torch.channels_last_3d


def inputs(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """x, weight and bias whose values `dtype` can hold, and the list."""
    generator = torch.Generator().manual_seed(case.channels * 100 + case.out)
    d = len(case.size)
    x = torch.randn(case.batch, case.channels, *case.size, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(case.out, case.channels, *[case.kernel] * d, generator=generator, dtype=torch.float64)
    weight = (weight / math.sqrt(weight[0].numel())).to(dtype)
    bias = torch.randn(case.out, generator=generator, dtype=torch.float64).to(dtype) if case.bias else None
    return x.contiguous(memory_format=_format(case)), weight, bias, torch.tensor(case.index, dtype=torch.int32)


class EmulatedBlockConv:
    """One case on the emulated kernels."""

    def __init__(self, emulation: Emulation, case: Case, dtype: torch.dtype) -> None:
        self.library, self.case, self.dtype = emulation.library, case, dtype
        self.kind = torch.float64 if dtype == torch.float64 else torch.float32
        kernel = [1] * (3 - len(case.size)) + [case.kernel] * len(case.size)
        numbers = [case.batch, *_triple(case.size), *_triple(case.tile), *_triple(grid_of(case)), *kernel]
        self.numbers = longs([*numbers, case.channels, case.out, len(case.index)])

    def _run(self, name: str, first: Tensor, second: Tensor, *tensors: Tensor | None) -> None:
        flags = (ctypes.c_int64(self.case.zero_halo), ctypes.c_int64(self.case.packed))
        strides = (longs(_five(t.stride())) for t in (first, second))
        given = (None if t is None else pointer(t) for t in tensors)
        getattr(self.library, f"emu_{name}_{SUFFIX[self.dtype]}")(self.numbers, *strides, *flags, *given)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor) -> Tensor:
        """Packed rows start as NaN, a map as zeros."""
        case = self.case
        shape = (len(case.index), case.out, *case.tile) if case.packed else (case.batch, case.out, *case.size)
        out = torch.full(shape, float("nan") if case.packed else 0.0, dtype=self.dtype)
        out = out.contiguous(memory_format=_format(case))
        self._run(
            "block_conv", x, out, x, weight.to(self.kind), None if bias is None else bias.to(self.kind), index, out
        )
        return out

    def backward(self, grad: Tensor, x: Tensor, weight: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dx, dweight, dbias; dx starts as NaN where the kernels write all of it."""
        dx = torch.full_like(x, 0.0 if self.case.zero_halo else float("nan"))
        dweight = torch.full(weight.shape, float("nan"), dtype=self.kind)
        dbias = torch.full((self.case.out,), float("nan"), dtype=self.kind)
        tensors = (grad, x, weight.to(self.kind), index, dx, dweight, dbias)
        self._run("block_conv_backward", x, grad, *tensors)
        return dx, dweight, dbias


def compare(emulation: Emulation, case: Case, dtype: torch.dtype) -> dict[str, float]:
    """Largest relative error of the result and of every gradient."""
    x, weight, bias, index = inputs(case, dtype)
    kernels = EmulatedBlockConv(emulation, case, dtype)
    leaves = [t.double().requires_grad_() for t in (x, weight)]
    wide_bias = torch.zeros(case.out, dtype=torch.float64) if bias is None else bias.double()
    wide_bias.requires_grad_()
    expected = plain(case, *leaves, wide_bias, index)
    generator = torch.Generator().manual_seed(7)
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64).to(dtype)
    grad = grad.contiguous(memory_format=_format(case))
    wanted = torch.autograd.grad(expected, [*leaves, wide_bias], grad.double())
    found = kernels.backward(grad, x, weight, index)
    out = kernels.forward(x, weight, bias, index)
    pairs = {"out": (out, expected.detach())}
    pairs.update(zip(("dx", "dweight", "dbias"), zip(found, wanted, strict=True), strict=True))
    return {name: error(a, b) for name, (a, b) in pairs.items() if a.numel()}
