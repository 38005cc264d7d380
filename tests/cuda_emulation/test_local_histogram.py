"""The CUDA kernels of local_histogram under emulation."""

from __future__ import annotations

import pytest
import torch

from tests.cuda_emulation._emulation import ORDERS, Emulation
from tests.cuda_emulation._local_histogram import CASES, LIMIT, RANGE, compare, emulate, problem
from tests.ops.conftest import compiled  # noqa: F401  (a fixture)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_maps_and_gradients_equal_plain_pytorch(library: Emulation, case, dtype) -> None:
    assert compare(library, case, dtype) < LIMIT[dtype]


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_maps_have_the_bits_of_the_cpu(library: Emulation, compiled: None, case, dtype) -> None:  # noqa: F811
    x, mask, grad = problem(case, dtype)
    expected = torch.ops.medseg.local_histogram(x, mask, list(case.window), case.bins, *RANGE, case.soft)
    assert torch.equal(emulate(library, case, x, mask, grad)[0], expected)


def test_results_are_equal_to_the_bit_in_every_thread_order(library: Emulation) -> None:
    results = []
    for order in ORDERS:
        library.set_order(order)
        results.append(emulate(library, CASES[2], *problem(CASES[2], torch.float32)))
    library.set_order("forward")
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
