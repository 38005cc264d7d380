"""The CUDA kernels of geodesic_distance under emulation."""

from __future__ import annotations

import pytest
import torch

from tests.cuda_emulation._emulation import ORDERS, Emulation
from tests.cuda_emulation._geodesic_distance import CASES, LIMIT, compare, emulate, problem
from tests.ops.conftest import compiled  # noqa: F401  (a fixture)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_equal_plain_pytorch(library: Emulation, case, dtype) -> None:
    assert compare(library, case, dtype) < LIMIT[dtype]


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_have_the_bits_of_the_cpu(library: Emulation, compiled: None, case, dtype) -> None:  # noqa: F811
    image, seeds = problem(case, dtype)
    options = (list(case.spacing), case.weight, case.cost, case.sweeps, case.limit)
    expected = torch.ops.medseg.geodesic_distance(image, seeds, *options)
    assert torch.equal(emulate(library, case, image, seeds), expected)


@pytest.mark.parametrize("case", [CASES[0], CASES[2]], ids=str)
def test_results_are_equal_to_the_bit_in_every_thread_order(library: Emulation, case) -> None:
    results = []
    for order in ORDERS:
        library.set_order(order)
        results.append(emulate(library, case, *problem(case, torch.float32)))
    library.set_order("forward")
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_a_set_without_seeds_is_the_limit_everywhere(library: Emulation) -> None:
    image, seeds = problem(CASES[0], torch.float32)
    seeds[:, 1] = False
    assert (emulate(library, CASES[0], image, seeds)[:, 1] == CASES[0].limit).all()
