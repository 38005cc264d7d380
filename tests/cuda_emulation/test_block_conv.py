"""The CUDA kernels of block_conv without a GPU, against masked dense convolution in float64."""

from __future__ import annotations

import pytest
import torch

from tests.cuda_emulation._block_conv import CASES, LIMIT, Case, EmulatedBlockConv, compare, inputs
from tests.cuda_emulation._emulation import ORDERS, Emulation


def _label(case: Case) -> str:
    return f"{case.channels}to{case.out}-{case.size}-tile{case.tile}-k{case.kernel}"


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=_label)
def test_results_and_gradients_equal_masked_dense_convolution(library: Emulation, case: Case, dtype) -> None:
    assert all(e < LIMIT[dtype] for e in compare(library, case, dtype).values())


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("case", [CASES[0], CASES[5], CASES[6]], ids=_label)
def test_results_are_equal_to_the_bit_in_every_thread_order(library: Emulation, case: Case, dtype) -> None:
    x, weight, bias, index = inputs(case, dtype)
    results = []
    for order in ORDERS:
        library.set_order(order)
        kernels = EmulatedBlockConv(library, case, dtype)
        out = kernels.forward(x, weight, bias, index)
        results.append([out, *kernels.backward(out, x, weight, index)])
    library.set_order("forward")
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_tile_numbers_beyond_the_grid_are_passed_over(library: Emulation) -> None:
    case = Case(1, 3, 3, (8, 8), (4, 4), 3, (2, 4, 1000, -7))
    x, weight, bias, index = inputs(case, torch.float32)
    out = EmulatedBlockConv(library, case, torch.float32).forward(x, weight, bias, index)
    assert out[0].abs().min() > 0
    assert torch.equal(out[1:], torch.zeros_like(out[1:]))


def test_a_sliced_input_of_any_strides_is_read_in_place(library: Emulation) -> None:
    case = Case(2, 3, 5, (10, 13), (4, 4), 3, (0, 5, 1))
    x, weight, bias, index = inputs(case, torch.bfloat16)
    wide = torch.randn(2, 13, 3, 20).bfloat16()
    wide[:, :, :, 5:15] = x.permute(0, 3, 1, 2)
    sliced = wide[:, :, :, 5:15].permute(0, 2, 3, 1)
    assert torch.equal(sliced, x)
    kernels = EmulatedBlockConv(library, case, torch.bfloat16)
    assert torch.equal(kernels.forward(sliced, weight, bias, index), kernels.forward(x, weight, bias, index))
