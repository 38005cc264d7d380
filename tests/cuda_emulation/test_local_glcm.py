"""The CUDA kernels of local_glcm under emulation."""

from __future__ import annotations

import pytest
import torch

from medseg.ops._glcm_features import FEATURES, LINEAR
from tests.cuda_emulation._emulation import ORDERS, Emulation
from tests.cuda_emulation._local_glcm import CASES, LIMIT, MANY_LEVELS, compare, emulate, problem
from tests.ops.conftest import compiled  # noqa: F401  (a fixture)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_maps_and_gradients_equal_plain_pytorch(library: Emulation, case, dtype) -> None:
    assert compare(library, case, dtype) < LIMIT[dtype]


@pytest.mark.parametrize("case", MANY_LEVELS, ids=lambda case: f"{case.levels} levels")
def test_maps_of_many_levels_equal_those_of_the_cpu(library: Emulation, compiled: None, case) -> None:  # noqa: F811
    x, mask, grad = problem(case, torch.float64)
    expected = torch.ops.medseg.local_glcm(x, *case.options(mask))
    found = emulate(library, case, x, mask, grad)[0]
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    counted = [i for i in range(found.shape[1]) if FEATURES[i % len(FEATURES)] not in LINEAR]
    assert torch.equal(found[:, counted], expected[:, counted])


@pytest.mark.parametrize("case", [CASES[0], CASES[4]], ids=str)
def test_results_are_equal_to_the_bit_in_every_thread_order(library: Emulation, case) -> None:
    results = []
    for order in ORDERS:
        library.set_order(order)
        results.append(emulate(library, case, *problem(case, torch.float32)))
    library.set_order("forward")
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
