"""The CUDA kernels of quadtree_conv without a GPU, against masked dense rounds under autograd in float64."""

from __future__ import annotations

import pytest
import torch

from tests.cuda_emulation._emulation import ORDERS, Emulation
from tests.cuda_emulation._quadtree_conv import CASES, LIMIT, Case, EmulatedQuadtreeConv, compare, limit, problem


def _label(case: Case) -> str:
    return f"mode{case.mode}-act{case.activation}-norm{case.norm}-{case.channels}x{case.size}-k{case.kernel}"


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=_label)
def test_results_and_gradients_equal_masked_dense_rounds(library: Emulation, case: Case, dtype) -> None:
    assert all(e < limit(case, dtype) for e in compare(library, case, dtype).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", [CASES[0], CASES[4]], ids=_label)
def test_results_are_equal_to_the_bit_in_every_thread_order(library: Emulation, case: Case, dtype) -> None:
    p = problem(case, dtype)
    results = []
    for order in ORDERS:
        library.set_order(order)
        kernels = EmulatedQuadtreeConv(library, case, dtype)
        out = kernels.forward(p)
        results.append([out, kernels.store, *(t for t in kernels.backward(p) if t is not None)])
    library.set_order("forward")
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_all_tiles_in_every_round_equal_a_stack_of_dense_convolutions(library: Emulation) -> None:
    case = Case(1, 3, (8, 12), (4, 4), 3, (1.0, 1.0), activation=0, channels_last=True)
    p = problem(case, torch.float64)
    assert p.bias is not None
    dense = p.x
    for weight, bias in zip(p.weight, p.bias, strict=True):
        dense = torch.nn.functional.conv2d(dense, weight, bias, padding=1)
    torch.testing.assert_close(EmulatedQuadtreeConv(library, case, torch.float64).forward(p), dense, rtol=0, atol=1e-12)


def test_a_map_without_active_tiles_passes_through(library: Emulation) -> None:
    case = Case(1, 3, (8, 8), (4, 4), 3, (0.0, 0.0))
    p = problem(case, torch.float32)
    kernels = EmulatedQuadtreeConv(library, case, torch.float32)
    assert torch.equal(kernels.forward(p), p.x)
    dx, dweight, *_ = kernels.backward(p)
    assert dx is not None and dweight is not None
    assert torch.equal(dx, p.grad)
    assert torch.equal(dweight, torch.zeros_like(dweight))
