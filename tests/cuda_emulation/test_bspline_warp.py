"""The CUDA kernels of bspline_warp under emulation."""

from __future__ import annotations

import pytest
import torch

from tests.cuda_emulation._bspline_warp import CASES, LIMIT, compare, emulate, problem
from tests.cuda_emulation._emulation import ORDERS, Emulation


@pytest.mark.parametrize("border", [True, False], ids=["border", "constant"])
@pytest.mark.parametrize("nearest", [False, True], ids=["bilinear", "nearest"])
@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_equal_plain_pytorch(library: Emulation, case, dtype, nearest: bool, border: bool) -> None:
    assert compare(library, case, dtype, nearest, border) < LIMIT[dtype]


@pytest.mark.parametrize("nearest", [False, True], ids=["bilinear", "nearest"])
def test_results_are_equal_to_the_bit_in_every_thread_order(library: Emulation, nearest: bool) -> None:
    results = []
    for order in ORDERS:
        library.set_order(order)
        results.append(emulate(library, CASES[3], *problem(CASES[3], torch.float32, nearest), nearest, False, 0.5))
    library.set_order("forward")
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("scale", [1e-30, 1e30], ids=str)
def test_gradients_of_every_magnitude_are_added_exactly_enough(library: Emulation, scale: float) -> None:
    x, control, grad = problem(CASES[2], torch.float32, False)
    ones = emulate(library, CASES[2], x, control, grad, False, True, 0.0)[1]
    scaled = emulate(library, CASES[2], x, control, grad * scale, False, True, 0.0)[1]
    torch.testing.assert_close(scaled / scale, ones, rtol=1e-5, atol=1e-6)


def test_a_gradient_that_is_no_number_shows(library: Emulation) -> None:
    x, control, grad = problem(CASES[0], torch.float32, False)
    grad[0, 0, 0, 0] = torch.nan
    assert emulate(library, CASES[0], x, control, grad, False, True, 0.0)[1].isnan().all()
