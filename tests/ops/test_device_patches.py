"""The selections by shared scores and by unique slots on the ``--device``, against float64 on the CPU."""

from __future__ import annotations

import pytest
import torch

from medseg.ops import compiled, last_backend, patch_gather, patch_scatter, patch_select, patch_select_shared
from tests.ops._definitions import problem

SHAPES = [((2, 3, 8, 12), 2, 5), ((1, 17, 16, 16), 2, 24), ((1, 5, 8, 8, 16), 2, 3), ((2, 8, 64, 64), 2, 16)]
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-10}


def _compare(found, wanted, dtype) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            a.cpu().double(), b, rtol=0, atol=TOLERANCE[dtype] * float(b.abs().max().clamp(min=1))
        )


def _gradients(out, leaves):
    weight = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape).to(out)
    return torch.autograd.grad((out * weight).sum(), leaves)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("surrogate", ["softmax", "paper"])
@pytest.mark.parametrize(("shape", "patch", "rank"), SHAPES, ids=str)
def test_shared_scores_equal_float64_on_the_cpu(device, shape, patch, rank, surrogate, dtype) -> None:
    x, keys, _ = (t.detach().to(dtype) for t in problem(shape, patch, rank))
    results = []
    for where, kind in ((device, dtype), ("cpu", torch.float64)):
        leaves = [t.to(where, kind).requires_grad_() for t in (x, keys[:, :, 0])]
        out, index = patch_select_shared(*leaves, patch, surrogate=surrogate, tau=0.7)
        results.append((index.cpu(), (out.detach(), *_gradients(out, leaves))))
    assert torch.equal(results[0][0], results[1][0])
    _compare(results[0][1], results[1][1], dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("surrogate", ["softmax", "paper"])
@pytest.mark.parametrize(("shape", "patch", "rank"), SHAPES, ids=str)
def test_unique_slots_equal_float64_on_the_cpu(device, shape, patch, rank, surrogate, dtype) -> None:
    tensors = [t.detach().to(dtype) for t in problem(shape, patch, rank)]
    results = []
    for where, kind in ((device, dtype), ("cpu", torch.float64)):
        leaves = [t.to(where, kind).requires_grad_() for t in tensors]
        out, index = patch_select(*leaves, patch, assignment="unique", order="raster", surrogate=surrogate, tau=0.7)
        results.append((index.cpu(), (out.detach(), *_gradients(out, leaves))))
    assert torch.equal(results[0][0], results[1][0])
    _compare(results[0][1], results[1][1], dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_gather_and_scatter_equal_the_cpu(device, dtype) -> None:
    x = torch.randn(2, 5, 8, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    index = torch.randint(24, (2, 6), generator=torch.Generator().manual_seed(1)).int()
    out = patch_gather(x.to(device), index.to(device), 2, (2, 3))
    assert torch.equal(out.cpu(), patch_gather(x, index, 2, (2, 3)))
    back = patch_scatter(out, index.to(device), 2, (4, 6))
    torch.testing.assert_close(back.cpu(), patch_scatter(out.cpu(), index, 2, (4, 6)))


def test_the_compiled_kernel_of_the_device_ran(device) -> None:
    patch_select_shared(torch.randn(1, 2, 8, 8, device=device), torch.randn(1, 16, device=device), 2)
    expected = device.split(":")[0] if compiled() else "reference"
    assert last_backend("patch_select_shared").startswith(expected)
