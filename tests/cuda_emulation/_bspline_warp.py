"""Calls the emulated kernels of bspline_warp, and the cases that compare them with plain PyTorch in float64."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medseg.ops._bspline_warp_reference import reference_bspline_warp, reference_bspline_warp_backward
from tests.cuda_emulation._emulation import Emulation, error, longs, pointer


class WarpCase(NamedTuple):
    """Shape of the image, of the control grid, voxels between control points, whether the batch shares them."""

    shape: tuple[int, ...]
    grid: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    shared: bool = False


CASES = [
    WarpCase((2, 3, 9, 12), (4, 5), (2.5, 3.0), (-1.0, 0.5)),
    WarpCase((2, 1, 20, 17), (3, 3), (9.5, 8.0), (0.0, 0.0), shared=True),
    WarpCase((2, 2, 6, 7, 8), (3, 4, 2), (2.0, 2.5, 7.0), (0.0, -2.5, 0.0)),
    WarpCase((3, 5, 4, 1, 13), (2, 1, 5), (3.0, 1.0, 1.5), (0.0, 0.0, 2.0), shared=True),
]
LIMIT = {torch.float32: 1e-4, torch.float64: 1e-11}


def _lift(values: Sequence[float], filler: float) -> list[float]:
    return [*([filler] if len(values) == 2 else []), *values]


def emulate(
    emulation: Emulation,
    case: WarpCase,
    x: Tensor,
    control: Tensor,
    grad: Tensor,
    nearest: bool,
    border: bool,
    fill: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and the gradients by image and control points."""
    d = len(case.grid)
    size, points = (_lift(v, 1) for v in (case.shape[2:], case.grid))
    numbers = [*case.shape[:2], d, *size, *points, case.shared, nearest, border]
    values = (ctypes.c_double * 7)(*_lift(case.origin, 0.0), *_lift(case.spacing, 1.0), fill)
    out, dx, dcontrol = torch.full_like(x, fill), torch.empty_like(x), torch.zeros_like(control)
    suffix = "f64" if x.dtype == torch.float64 else "f32"
    head = (longs([int(n) for n in numbers]), values)
    getattr(emulation.library, f"emu_bspline_warp_{suffix}")(*head, *map(pointer, (x, control, out)))
    tensors = (grad, x, control, dx, dcontrol)
    getattr(emulation.library, f"emu_bspline_warp_backward_{suffix}")(*head, *map(pointer, tensors))
    return out, dx, dcontrol


def problem(case: WarpCase, dtype: torch.dtype, nearest: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Image, control points and gradient. For ``nearest`` control points are constant: no position is near a tie."""
    generator = torch.Generator().manual_seed(sum(case.shape))
    x, grad = (torch.randn(case.shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    control = 2 * torch.randn(1 if case.shared else case.shape[0], len(case.grid), *case.grid, generator=generator)
    if nearest:
        control = control.flatten(2)[:, :, :1].round().add(0.3).expand_as(control.flatten(2)).reshape(control.shape)
    return x, control.to(dtype).contiguous(), grad


def compare(emulation: Emulation, case: WarpCase, dtype: torch.dtype, nearest: bool, border: bool) -> float:
    """Largest relative error of output and gradients."""
    x, control, grad = problem(case, dtype, nearest)
    found = emulate(emulation, case, x, control, grad, nearest, border, 0.5)
    options = (list(case.origin), list(case.spacing), nearest, border, 0.5)
    wide = (x.double(), control.double())
    expected = (
        reference_bspline_warp(*wide, *options),
        *reference_bspline_warp_backward(grad.double(), *wide, *options, True, True),
    )
    return max(error(a, b) for a, b in zip(found, expected, strict=True))
