"""The ops on the device named by ``--device`` against the portable float64 CPU kernel."""

from __future__ import annotations

import pytest
import torch

from medseg.ops import compiled, last_backend, patch_select, score_argmax

SHAPES = [
    ((2, 3, 8, 12), 2, 5),
    ((1, 17, 16, 16), 2, 24),
    ((1, 5, 8, 8, 16), 2, 3),
    ((1, 32, 64, 64), 2, 16),
]
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-10}


def _inputs(shape, patch, rank, dtype):
    generator = torch.Generator().manual_seed(0)
    spatial = shape[2:]
    patches = 1
    for size in spatial:
        patches *= size // patch
    slots = patches // 2 ** len(spatial)
    tensors = (shape, (shape[0], patches, rank), (slots, rank))
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in tensors]


def _forward_backward(inputs, patch, **options):
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    out, index = patch_select(*leaves, patch, **options)
    weight = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape).to(out)
    grads = torch.autograd.grad((out * weight).sum(), leaves)
    return out.detach(), index, grads


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("max_grad", [True, False])
@pytest.mark.parametrize(("shape", "patch", "rank"), SHAPES, ids=str)
def test_patch_select_equals_the_float64_cpu_kernel(device, shape, patch, rank, max_grad, dtype) -> None:
    inputs = _inputs(shape, patch, rank, dtype)
    out, index, grads = _forward_backward([t.to(device) for t in inputs], patch, max_grad=max_grad)
    expected_out, expected_index, expected = _forward_backward([t.double() for t in inputs], patch, max_grad=max_grad)
    assert torch.equal(index.cpu(), expected_index)
    torch.testing.assert_close(out.cpu().double(), expected_out, rtol=0, atol=0)
    for found, wanted in zip(grads, expected, strict=True):
        scale = float(wanted.abs().max())
        torch.testing.assert_close(found.cpu().double(), wanted, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_score_argmax_equals_the_float64_cpu_kernel(device, dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    keys = torch.randn(2, 777, 17, generator=generator, dtype=torch.float64).to(dtype)
    queries = torch.randn(190, 17, generator=generator, dtype=torch.float64).to(dtype)
    index, score = score_argmax(keys.to(device), queries.to(device))
    expected_index, expected_score = score_argmax(keys.double(), queries.double())
    assert torch.equal(index.cpu(), expected_index)
    torch.testing.assert_close(score.cpu().double(), expected_score, rtol=0, atol=TOLERANCE[dtype] * 50)


def test_results_are_bit_equal_from_run_to_run(device) -> None:
    inputs = [t.to(device) for t in _inputs((1, 24, 32, 32), 2, 17, torch.float32)]
    first, second = (_forward_backward(inputs, 2) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert all(torch.equal(a, b) for a, b in zip(first[2], second[2], strict=True))


def test_the_compiled_kernel_of_the_device_ran(device) -> None:
    keys = torch.randn(1, 64, 3, device=device)
    score_argmax(keys, torch.randn(16, 3, device=device))
    expected = device.split(":")[0] if compiled() else "reference"
    assert last_backend("score_argmax").startswith(expected)
