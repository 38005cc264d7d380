"""Calls the emulated kernels of quadtree_conv, and compares them with masked dense rounds under autograd in float64."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medseg.ops._codes import INSTANCE_NORM, LEAKY_RELU, NO_ACTIVATION, PARALLEL, RELU
from medseg.ops._quadtree_conv_arguments import grid_of, keeps_signs, layout_of
from medseg.ops._quadtree_conv_reference import masked_quadtree_conv, pack_signs, stored_rows
from tests.cuda_emulation._block_conv import SUFFIX
from tests.cuda_emulation._emulation import Emulation, error, longs, pointer

LIMIT = {torch.float32: 1e-4, torch.float64: 1e-11, torch.bfloat16: 1.5e-2}
# In bfloat16 a norm moves values across the kink of an activation, and the gradients there differ completely. The
# same cases also run without an activation, where the narrow limit holds.
KINKED_LIMIT = 1e-1


class Case(NamedTuple):
    """A map, the share of active tiles of each round, and the settings of the op."""

    batch: int
    channels: int
    size: tuple[int, ...]
    tile: tuple[int, ...]
    kernel: int
    shares: tuple[float, ...]
    mode: int = 0
    activation: int = RELU
    norm: int = 0
    explored: float = 0.0
    parameters: bool = True
    channels_last: bool = False


CASES = [
    Case(2, 3, (10, 13), (4, 4), 3, (0.9, 0.5, 0.2), 0, RELU, 0, explored=0.5),
    Case(1, 5, (9, 9), (3, 5), 5, (0.6, 0.4), 1, LEAKY_RELU, 0, explored=1.0),
    Case(2, 4, (8, 12), (4, 4), 3, (1.0, 0.5), 2, RELU, 0, explored=1.0, channels_last=True),
    Case(2, 17, (8, 8), (4, 4), 3, (0.7, 0.3), 0, LEAKY_RELU, 1, explored=0.3),
    Case(2, 3, (11, 8), (4, 4), 3, (0.8, 0.4), 1, RELU, 2, explored=1.0, channels_last=True),
    Case(2, 3, (8, 8), (4, 4), 3, (0.9, 0.4), 2, NO_ACTIVATION, 1, parameters=False, explored=1.0),
    Case(1, 24, (16, 16), (8, 8), 1, (0.8, 0.0, 0.5), 0, NO_ACTIVATION, 0),
    Case(1, 3, (8, 8), (4, 4), 3, (0.0, 0.0), 0, RELU, 1),
    Case(2, 2, (6, 7, 9), (4, 4, 4), 3, (0.8, 0.3), 0, RELU, 2, explored=0.4),
    Case(1, 8, (8, 8, 8), (4, 8, 4), 3, (0.8, 0.5), 1, RELU, 0, channels_last=True),
]
CASES += [case._replace(activation=NO_ACTIVATION) for case in CASES if case.norm and case.activation != NO_ACTIVATION]


def limit(case: Case, dtype: torch.dtype) -> float:
    """What the errors of a case must stay below."""
    kinked = dtype == torch.bfloat16 and case.norm and case.activation != NO_ACTIVATION
    return KINKED_LIMIT if kinked else LIMIT[dtype]


class Problem(NamedTuple):
    """The tensors of one case; rows reserve more than the lists need."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    scale: Tensor | None
    shift: Tensor | None
    gate: Tensor
    index: Tensor
    explore: Tensor
    rows: list[int]
    grad: Tensor


def problem(case: Case, dtype: torch.dtype) -> Problem:
    """Random values that `dtype` can hold, and lists of nested sets, out of order, with gaps."""
    generator = torch.Generator().manual_seed(case.channels * 10 + case.mode)
    d, rounds = len(case.size), len(case.shares)

    def values(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    tiles = case.batch * math.prod(grid_of(case.size, case.tile))
    order = torch.randperm(tiles, generator=generator).int()
    counts = [round(s * tiles) for s in case.shares]
    index = torch.full((rounds, max(counts) + 2), -1, dtype=torch.int32)
    explored = [round(case.explored * (tiles - n)) for n in counts]
    explore = torch.full((rounds, max(explored) + (max(explored) > 0)), -1, dtype=torch.int32)
    for r, (n, e) in enumerate(zip(counts, explored, strict=True)):
        index[r, 1 : n + 1] = order[:n].roll(r)
        explore[r, :e] = order[n : n + e]
    x = values(case.batch, case.channels, *case.size)
    if case.channels_last:
        x = x.contiguous(memory_format=torch.channels_last if d == 2 else torch.channels_last_3d)
    weight = values(rounds, case.channels, case.channels, *[case.kernel] * d)
    weight = weight / math.sqrt(case.channels * case.kernel**d)
    p = [values(rounds, case.channels) if case.parameters else None for _ in range(3)]
    scale, shift = (p[1], p[2]) if case.norm else (None, None)
    rows = [min(n + 1, index.shape[1]) + (r == 0) * 3 for r, n in enumerate(counts)]
    grad = torch.empty_like(x).copy_(values(*x.shape))
    return Problem(x, weight.to(dtype), p[0], scale, shift, values(rounds, tiles), index, explore, rows, grad)


def settings(case: Case) -> tuple[int, int, float, int, float]:
    """mode, activation, slope, norm, eps."""
    return case.mode, case.activation, 0.1, case.norm, 1e-5


def _expected(case: Case, p: Problem) -> tuple[Tensor, list[Tensor | None], list[Tensor]]:
    """Result, its gradients by autograd in the order of the arguments, and what forward leaves: store, pre, stats."""
    leaves = [None if t is None else t.double().requires_grad_() for t in p[:6]]
    out, rounds = masked_quadtree_conv(*leaves, p.index, p.explore, case.tile, *settings(case))
    given = [t for t in leaves if t is not None]
    found = iter(torch.autograd.grad(out, given, p.grad.double(), allow_unused=True))
    grads = [None if t is None else next(found) for t in leaves]
    left = [stored_rows([s.before for s in rounds[1:]] + [out], p.index, case.tile, p.rows).detach()]
    if case.norm:
        left.append(stored_rows([s.convolved for s in rounds], p.index, case.tile, p.rows).detach())
        left.append(torch.stack([torch.stack([s.mean.flatten(1), s.rstd.flatten(1)], 1) for s in rounds]).detach())
    elif keeps_signs(case.mode, case.activation, case.norm):
        left.append(pack_signs(stored_rows([s.convolved for s in rounds], p.index, case.tile, p.rows)))
    return out.detach(), grads, left


class _Call(ctypes.Structure):
    """The call as C++ reads it: three arrays of numbers, slope, eps, the tensors."""

    _fields_ = [
        ("arrays", ctypes.c_int64 * 3),
        ("slope", ctypes.c_double),
        ("eps", ctypes.c_double),
        ("tensors", ctypes.c_int64 * 11),
    ]


class EmulatedQuadtreeConv:
    """One case on the emulated kernels; what they must write starts as NaN."""

    def __init__(self, emulation: Emulation, case: Case, dtype: torch.dtype) -> None:
        self.library, self.case, self.dtype = emulation.library, case, dtype
        self.kind = torch.float64 if dtype == torch.float64 else torch.float32

    def _nan(self, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        return torch.full(tuple(shape), float("nan"), dtype=dtype or self.kind)

    def _call(self, p: Problem) -> _Call:
        case = self.case
        flat = [1] * (3 - len(case.size))
        groups = case.batch if case.norm == INSTANCE_NORM else 1
        shape = (sum(p.rows), *case.tile, case.channels)
        self.store = self._nan(shape, self.dtype)
        self.pre = self._nan(shape, self.dtype) if case.norm else None
        self.stats = self._nan((len(p.rows), groups, 2, case.channels)) if case.norm else None
        bits = torch.full((shape[0], -(-math.prod(shape[1:]) // 8)), 255, dtype=torch.uint8)
        self.signs = bits if keeps_signs(case.mode, case.activation, case.norm) else None
        grid, kernel = grid_of(case.size, case.tile), [case.kernel] * len(case.size)
        numbers = [case.batch, *flat, *case.size, *flat, *case.tile, *flat, *grid, *flat, *kernel, case.channels]
        numbers += [len(p.rows), p.index.shape[1], p.explore.shape[1], case.mode, case.activation, case.norm]
        stride = [*p.x.stride()[:2], *([0] if len(case.size) == 2 else []), *p.x.stride()[2:]]
        wide = [None if t is None else t.to(self.kind) for t in (p.weight, p.bias, p.scale, p.shift)]
        tensors = [p.x, *wide, p.index, p.explore, self.store, self.pre, self.signs, self.stats]
        arrays = [longs(numbers), longs(p.rows), longs(stride)]
        self.held = (arrays, tensors)
        addresses = [ctypes.addressof(a) for a in arrays]
        pointers = [0 if t is None else t.data_ptr() for t in tensors]
        return _Call((ctypes.c_int64 * 3)(*addresses), 0.1, 1e-5, (ctypes.c_int64 * 11)(*pointers))

    def forward(self, p: Problem) -> Tensor:
        """The map after all rounds."""
        self.call = self._call(p)
        out = torch.full_like(p.x, float("nan"), memory_format=layout_of(p.x))
        getattr(self.library, f"emu_quadtree_conv_{SUFFIX[self.dtype]}")(ctypes.byref(self.call), pointer(out))
        return out

    def backward(self, p: Problem) -> list[Tensor | None]:
        """Gradients of x, weight, bias, scale, shift and gate, after `forward`."""
        rounds, channels = len(p.rows), self.case.channels
        read = p.grad.to(self.kind, copy=True)  # the kernels work in place
        write = read.clone() if self.case.mode == PARALLEL else read
        dweight, dgate = self._nan(p.weight.shape), self._nan(p.gate.shape)
        dbias = None if p.bias is None else self._nan(p.bias.shape)
        dnorm = self._nan((rounds, 2, channels)) if self.case.norm else None
        tensors = (read, write, dweight, dbias, dnorm, dgate)
        given = (None if t is None else pointer(t) for t in tensors)
        getattr(self.library, f"emu_quadtree_conv_backward_{SUFFIX[self.dtype]}")(ctypes.byref(self.call), *given)
        dshift, dscale = (dnorm[:, 0], dnorm[:, 1]) if dnorm is not None and p.scale is not None else (None, None)
        return [write, dweight, dbias, dscale, dshift, dgate]


def _root_mean_square(found: Tensor, expected: Tensor) -> float:
    """Relative error for bfloat16, which turns the sign of a few values near a kink, whose gradients then differ."""
    return ((found.double() - expected).norm() / expected.norm().clamp(min=1)).nan_to_num(nan=math.inf).item()


def compare(emulation: Emulation, case: Case, dtype: torch.dtype) -> dict[str, float]:
    """Relative error of the result, of what backward is left with, and of every gradient: the largest, for bfloat16 the
    root mean square.
    """
    measure = _root_mean_square if dtype == torch.bfloat16 else error
    p = problem(case, dtype)
    expected, wanted, left = _expected(case, p)
    kernels = EmulatedQuadtreeConv(emulation, case, dtype)
    errors = {"out": measure(kernels.forward(p), expected), "store": measure(kernels.store, left[0])}
    if kernels.pre is not None and kernels.stats is not None:
        errors.update(pre=measure(kernels.pre, left[1]), stats=measure(kernels.stats, left[2]))
    if kernels.signs is not None and dtype != torch.bfloat16:
        errors["signs"] = float(not torch.equal(kernels.signs, left[1]))
    names = ("dx", "dweight", "dbias", "dscale", "dshift", "dgate")
    for name, found, want in zip(names, kernels.backward(p), wanted, strict=True):
        if want is not None and found is not None:
            errors[name] = measure(found, want)
    if case.norm and dtype == torch.bfloat16:
        errors.pop("dbias", None)  # 0 except for rounding: a norm removes a bias
    return errors
