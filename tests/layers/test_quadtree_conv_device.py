"""`QuadtreeConv` on the device named by ``--device`` against float64 on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch

from medseg.layers import QuadtreeConv
from medseg.partition import BlockPlan, PlanSettings, make_plan


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", [None, "batch", "instance"])
def test_agrees_with_float64_forward_and_backward(device: str, dims: int, norm: str | None) -> None:
    generator = torch.Generator().manual_seed(0)
    size = (48, 64) if dims == 2 else (16, 24, 32)
    x = torch.randn((2, 3, *size), generator=generator, dtype=torch.float64)
    plan = make_plan(x, PlanSettings(rounds=2, root=2))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        exact = QuadtreeConv(dims, 3, 8, rounds=2, root_kernel=1, norm=norm).double()
    layer = copy.deepcopy(exact).float().to(device)
    wide = x.clone().requires_grad_()
    narrow = x.float().to(device).requires_grad_()
    expected = exact(wide, plan)
    found = layer(narrow, BlockPlan(*(t.to(device) for t in plan)))
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-3, atol=1e-4)
    weights = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).reshape(found.shape)
    (expected * weights).sum().backward()
    (found * weights.to(found)).sum().backward()
    torch.testing.assert_close(narrow.grad.cpu().double(), wide.grad, rtol=1e-3, atol=1e-4)
    for a, b in zip(layer.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(a.grad.cpu().double(), b.grad, rtol=2e-3, atol=2e-3)


def test_makes_the_same_partition_on_the_device(device: str) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    layer = QuadtreeConv(2, 3, 3)
    torch.testing.assert_close(layer.own_plan(x.to(device)).mask.cpu(), layer.own_plan(x).mask)
