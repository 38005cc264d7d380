"""Calls the emulated kernels of local_glcm, and the cases that compare them with plain PyTorch in float64."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from medseg.ops._glcm_features import FEATURES, LINEAR, feature_bits
from medseg.ops.local_glcm import reference_local_glcm, reference_local_glcm_backward
from tests.cuda_emulation._emulation import Emulation, error, longs, pointer

Offsets = tuple[tuple[int, ...], ...]


class GlcmCase(NamedTuple):
    """Shape of the image, sides of the window, offsets, levels, features, and the options."""

    shape: tuple[int, ...]
    window: tuple[int, ...]
    offsets: Offsets
    levels: int = 5
    features: tuple[str, ...] = FEATURES
    mean: bool = True
    masked: bool = False
    whole: bool = False  # whole levels

    def options(self, mask: Tensor | None) -> tuple[Tensor | None, list[int], list[int], int, int, bool]:
        """What the op takes after the image."""
        steps = [v for offset in self.offsets for v in offset]
        return mask, list(self.window), steps, self.levels, feature_bits("local_glcm", self.features), self.mean


CASES = [
    GlcmCase((2, 1, 6, 7), (5, 5), ((0, 1), (-1, 1), (2, -1)), masked=True),
    GlcmCase((1, 1, 35, 4), (7, 3), ((0, 1), (3, -1)), mean=False, whole=True),
    GlcmCase((1, 2, 3, 4, 4), (3, 5, 3), ((1, 0, 0), (-1, 2, 1))),
    GlcmCase((1, 1, 2, 3), (7, 7), ((0, 1), (4, 4))),
    GlcmCase((1, 1, 2, 70), (3, 9), ((1, -4),), features=("entropy", "max_probability"), masked=True),
    GlcmCase((2, 1, 6, 8), (3, 3), ((0, 1),), features=("correlation", "cluster_prominence"), mean=False),
]
MANY_LEVELS = [GlcmCase((1, 1, 3, 37), (5, 7), ((1, -1),), levels=n, whole=True) for n in (64, 256, 1024)]
LIMIT = {torch.float32: 1e-5, torch.float64: 1e-10}


def problem(case: GlcmCase, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, Tensor]:
    """Grey levels, some beyond both ends and one of them NaN; a mask; a gradient."""
    generator = torch.Generator().manual_seed(sum(case.shape))
    x = torch.rand(case.shape, generator=generator, dtype=torch.float64) * (case.levels + 1) - 1
    x = (x.round() if case.whole else x).to(dtype)
    x.flatten()[5] = torch.nan
    mask = torch.rand(case.shape, generator=generator) < 0.7 if case.masked else None
    maps = case.shape[1] * len(case.features) * (1 if case.mean else len(case.offsets))
    grad = torch.randn(case.shape[0], maps, *case.shape[2:], generator=generator, dtype=torch.float64).to(dtype)
    return x, mask, grad


def emulate(emulation: Emulation, case: GlcmCase, x: Tensor, mask: Tensor | None, grad: Tensor) -> tuple[Tensor, ...]:
    """The maps, and the gradient if a feature has one; they start as NaN."""
    flat = [1] * (5 - x.ndim)
    zeros = [0] * len(flat)
    radius = [w // 2 for w in case.window]
    bits = case.options(None)[4]
    numbers = [case.shape[0] * case.shape[1], *flat, *case.shape[2:], *zeros, *radius, case.levels, bits, case.mean]
    numbers += [len(case.offsets), *(v for offset in case.offsets for v in (*zeros, *offset))]
    head = longs([int(n) for n in numbers])
    suffix = "f64" if x.dtype == torch.float64 else "f32"
    inside = ctypes.c_void_p(None) if mask is None else pointer(mask)
    out, dx = torch.full_like(grad, torch.nan), torch.full_like(x, torch.nan)
    getattr(emulation.library, f"emu_local_glcm_{suffix}")(head, pointer(x), inside, pointer(out))
    if not any(f in LINEAR for f in case.features):
        return (out,)
    tensors = (pointer(grad), pointer(x), inside, pointer(dx))
    getattr(emulation.library, f"emu_local_glcm_backward_{suffix}")(head, *tensors)
    return out, dx


def compare(emulation: Emulation, case: GlcmCase, dtype: torch.dtype) -> float:
    """Largest relative error of maps and gradient, feature by feature: their magnitudes differ."""
    x, mask, grad = problem(case, dtype)
    out, *dx = emulate(emulation, case, x, mask, grad)
    expected = reference_local_glcm(x.double(), *case.options(mask))
    features = zip(*(t.unflatten(1, (-1, len(case.features))).unbind(2) for t in (out, expected)), strict=True)
    worst = max(error(a, b) for a, b in features)
    for found in dx:
        wanted = reference_local_glcm_backward(grad.double(), x.double(), *case.options(mask))
        worst = max(worst, error(found, wanted))
    return worst
