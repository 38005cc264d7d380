"""Calls the emulated kernels of local_histogram, and the cases that compare them with plain PyTorch in float64."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from medseg.ops.local_histogram import reference_local_histogram, reference_local_histogram_backward
from tests.cuda_emulation._emulation import Emulation, error, longs, pointer


class HistogramCase(NamedTuple):
    """Shape of the image, sides of the window, number of bins, whether they are soft and whether there is a mask."""

    shape: tuple[int, ...]
    window: tuple[int, ...]
    bins: int
    soft: bool
    masked: bool = False


CASES = [
    HistogramCase((2, 3, 9, 14), (5, 5), 7, soft=False),
    HistogramCase((2, 1, 70, 6), (3, 9), 4, soft=True, masked=True),
    HistogramCase((1, 2, 5, 6, 7), (3, 5, 3), 5, soft=True),
    HistogramCase((1, 1, 4, 5, 6), (3, 3, 7), 3, soft=False, masked=True),
    HistogramCase((1, 1, 3, 2), (7, 7), 2, soft=True),
    HistogramCase((1, 1, 1, 40), (1, 3), 256, soft=False),
]
LIMIT = {torch.float32: 1e-5, torch.float64: 1e-11}
RANGE = (0.0, 10.0)


def problem(case: HistogramCase, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, Tensor]:
    """Values beyond both ends of the range, on edges of bins and NaN; a mask; a gradient."""
    generator = torch.Generator().manual_seed(sum(case.shape))
    x = (torch.rand(case.shape, generator=generator, dtype=torch.float64) * 13 - 1.5).to(dtype)
    x.flatten()[::5] = x.flatten()[::5].round()
    x.flatten()[3] = torch.nan
    mask = torch.rand(case.shape, generator=generator) < 0.6 if case.masked else None
    shape = (case.shape[0], case.shape[1] * case.bins, *case.shape[2:])
    return x, mask, torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def emulate(
    emulation: Emulation, case: HistogramCase, x: Tensor, mask: Tensor | None, grad: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The maps, and the gradient of soft ones; they start as NaN."""
    flat = [1] * (5 - x.ndim)
    radius = [0] * len(flat) + [w // 2 for w in case.window]
    numbers = [case.shape[0] * case.shape[1], *flat, *case.shape[2:], *radius, case.bins, case.soft]
    head = (longs([int(n) for n in numbers]), (ctypes.c_double * 2)(*RANGE))
    suffix = "f64" if x.dtype == torch.float64 else "f32"
    inside = ctypes.c_void_p(None) if mask is None else pointer(mask)
    out, dx = torch.full_like(grad, torch.nan), torch.full_like(x, torch.nan)
    getattr(emulation.library, f"emu_local_histogram_{suffix}")(*head, pointer(x), inside, pointer(out))
    if not case.soft:
        return out, None
    tensors = (pointer(grad), pointer(x), inside, pointer(dx))
    getattr(emulation.library, f"emu_local_histogram_backward_{suffix}")(*head, *tensors)
    return out, dx


def compare(emulation: Emulation, case: HistogramCase, dtype: torch.dtype) -> float:
    """Largest relative error of maps and gradient."""
    x, mask, grad = problem(case, dtype)
    out, dx = emulate(emulation, case, x, mask, grad)
    options = (mask, list(case.window), case.bins, *RANGE)
    worst = error(out, reference_local_histogram(x.double(), *options, case.soft))
    if dx is None:
        return worst
    return max(worst, error(dx, reference_local_histogram_backward(grad.double(), x.double(), *options)))
