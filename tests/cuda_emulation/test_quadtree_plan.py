"""The CUDA kernels of quadtree_plan under emulation."""

from __future__ import annotations

import pytest
import torch

from medseg.ops import quadtree_select
from tests.cuda_emulation._emulation import ORDERS, Emulation
from tests.cuda_emulation._quadtree_plan import CASES, METRICS, TOLERANCE, compare_plan, emulate


@pytest.mark.parametrize("code", range(len(METRICS)), ids=lambda c: "-".join(METRICS[c]))
@pytest.mark.parametrize(("size", "grids"), CASES[:3], ids=str)
def test_kernels_equal_the_cpu_op_in_every_thread_order(emulation: Emulation, size, grids, code: int) -> None:
    assert compare_plan(emulation, size, grids, code, torch.float32, limited=code == 2) < TOLERANCE[torch.float32]


@pytest.mark.parametrize("code", range(len(METRICS)), ids=lambda c: "-".join(METRICS[c]))
@pytest.mark.parametrize(("size", "grids"), CASES[2:], ids=str)
def test_float64_kernels_equal_the_cpu_op(library: Emulation, size, grids, code: int) -> None:
    assert compare_plan(library, size, grids, code, torch.float64) < TOLERANCE[torch.float64]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_ties_nan_infinities_and_signed_zeros_are_ordered_as_on_the_cpu(library: Emulation, dtype) -> None:
    values = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1.0, -1.0, 1.0], dtype=dtype)
    score = values[torch.randint(8, (3, 1024 + 64), generator=torch.Generator().manual_seed(0))]
    size, grids = (128, 120), ((8, 8), (32, 32))
    for keep, limit in (((20, 100), ()), ((64, 1024), (0.0, -1.0)), ((0, 5), ()), ((64, 1), (-torch.inf, 0.5))):
        found = emulate(library, None, score, size, grids, keep, limit)
        expected = quadtree_select(score, size, grids, keep, limit)
        assert all(torch.equal(a, b) for a, b in zip(found[:3], expected, strict=True))


def test_results_are_equal_to_the_bit_in_every_thread_order(library: Emulation) -> None:
    x = torch.randn(1, 2, 37, 21, generator=torch.Generator().manual_seed(0))
    results = []
    for order in ORDERS:
        library.set_order(order)
        results.append(emulate(library, x, torch.empty(1, 80), (37, 21), ((4, 4), (8, 8)), (8, 16)))
    library.set_order("forward")
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
