"""Calls the emulated kernels of geodesic_distance, and the cases that compare them with plain PyTorch and the CPU."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from medseg.ops.geodesic_distance import reference_geodesic_distance
from tests.cuda_emulation._emulation import Emulation, error, longs, pointer


class GeodesicCase(NamedTuple):
    """Shape of the image, sets of seeds, and the options of the op."""

    shape: tuple[int, ...]
    sets: int
    spacing: tuple[float, ...]
    cost: int
    sweeps: int
    weight: float = 0.6
    limit: float = 20.0


CASES = [
    GeodesicCase((2, 1, 9, 13), 2, (1.0, 0.7), 0, 0),
    GeodesicCase((1, 3, 17, 6), 1, (2.5, 1.0), 1, 0, limit=float("inf")),
    GeodesicCase((1, 2, 5, 7, 11), 2, (1.5, 0.6, 0.9), 1, 2),
    GeodesicCase((2, 1, 1, 1, 40), 1, (1.0, 1.0, 1.0), 0, 0, weight=1.0),
    GeodesicCase((1, 1, 3, 48, 44), 1, (1.5, 0.6, 0.9), 0, 1, weight=0.3),  # planes of more than one block
]
LIMIT = {torch.float32: 1e-5, torch.float64: 1e-12}


def problem(case: GeodesicCase, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """An image with one NaN voxel, and seeds."""
    generator = torch.Generator().manual_seed(sum(case.shape))
    image = torch.randn(case.shape, generator=generator, dtype=torch.float64).to(dtype)
    image.flatten(2)[:, 0, 8] = torch.nan
    seeds = torch.rand((case.shape[0], case.sets, *case.shape[2:]), generator=generator) > 0.98
    seeds.flatten(2)[:, 0, 5] = True
    return image, seeds


def emulate(emulation: Emulation, case: GeodesicCase, image: Tensor, seeds: Tensor) -> Tensor:
    """The map of the kernels; it starts as NaN."""
    flat = [1] * (5 - image.ndim)
    numbers = [case.shape[0], case.sets, case.shape[1], *flat, *case.shape[2:], case.cost, case.sweeps]
    values = (ctypes.c_double * 5)(*flat, *case.spacing, case.weight, case.limit)
    out = torch.full(seeds.shape, torch.nan, dtype=image.dtype)
    suffix = "f64" if image.dtype == torch.float64 else "f32"
    function = getattr(emulation.library, f"emu_geodesic_distance_{suffix}")
    function(longs(numbers), values, *map(pointer, (image, seeds, out)))
    return out


def compare(emulation: Emulation, case: GeodesicCase, dtype: torch.dtype) -> float:
    """Largest relative error of the distances; inf if others are at the limit."""
    image, seeds = problem(case, dtype)
    options = (list(case.spacing), case.weight, case.cost, case.sweeps, case.limit)
    found = emulate(emulation, case, image, seeds)
    expected = reference_geodesic_distance(image.double(), seeds, *options)
    if not torch.equal(found == case.limit, expected == case.limit):
        return float("inf")
    return error(found.masked_fill(found == case.limit, 0), expected.masked_fill(expected == case.limit, 0))
