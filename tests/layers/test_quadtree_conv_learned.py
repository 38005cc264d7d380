"""`QuadtreeConv` with a learned evaluator: the gradient of the choice of blocks, and what it may cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from medseg.layers import EvaluatedPlan, QuadtreeConv
from tests.layers._masked_dense import position_mask


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


def make(**options: Any) -> QuadtreeConv:
    defaults = {"rounds": 2, "root": 2, "root_kernel": 3, "evaluator": "learned", "norm": None}
    return QuadtreeConv(2, 2, 4, **{**defaults, **options}).double()


def dense_straight_through(layer: QuadtreeConv, x: Tensor, evaluated: EvaluatedPlan) -> Tensor:
    """Every round computed everywhere and weighed by its gate, whose value is 1 or 0."""
    plan, gate = evaluated.plan, evaluated.gate
    assert gate is not None and layer.root_conv is not None and layer.bias is not None
    y = layer.root_conv(x)
    for r, kernel in enumerate(layer.weight.chunk(layer.rounds)):
        z = torch.relu(torch.nn.functional.conv2d(y, kernel, layer.bias[r], padding=1))
        at_tiles = gate[r].reshape(x.shape[0], *plan.grid)
        at = [torch.arange(s) // -(-s // g) for s, g in zip(x.shape[2:], plan.grid, strict=True)]
        weight = at_tiles[:, at[0][:, None], at[1]][:, None]
        # Where the block is not active, the round's result reaches the loss through its gate alone.
        z = torch.where(position_mask(plan, r, tuple(x.shape[2:])), z, z.detach())
        y = y + weight * z
    return y


def test_gradient_of_the_evaluator_is_the_dense_straight_through_one_when_all_blocks_are_explored() -> None:
    layer = make(explore=1.0)
    x = torch.randn(2, 2, 32, 32, dtype=torch.float64)
    evaluated = layer.own_plan(x)
    assert isinstance(evaluated, EvaluatedPlan) and layer.evaluator is not None
    parameters = list(layer.evaluator.parameters())
    weights = torch.randn(2, 4, 32, 32, dtype=torch.float64)
    found = torch.autograd.grad((layer(x, evaluated) * weights).sum(), parameters, retain_graph=True)
    expected = torch.autograd.grad((dense_straight_through(layer, x, evaluated) * weights).sum(), parameters)
    assert any(g.abs().max() > 1e-6 for g in expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_the_evaluator_learns_to_find_what_the_loss_rewards() -> None:
    layer = make(explore=0.25, rounds=1, budget=(0.25,), kernel_size=1)
    torch.nn.init.ones_(layer.bias)
    optimiser = torch.optim.Adam(layer.evaluator.parameters(), 0.02)
    x = torch.zeros(4, 2, 32, 32, dtype=torch.float64)
    x[:, 0, :16, :16] = 1  # a quarter of the image, four of its sixteen blocks
    x[:, 1] = torch.rand(4, 32, 32, dtype=torch.float64)
    target = x[:, :1]

    def cover() -> float:
        plan = layer.eval().own_plan(x)
        layer.train()
        return float((position_mask(plan.plan, 0, (32, 32)) * target).sum() / target.sum())

    for p in (*layer.root_conv.parameters(), layer.weight):
        p.requires_grad_(False)
    for _ in range(60):
        gain = layer(x) - layer.root_conv(x).detach()
        loss = ((0.5 - target) * gain).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert cover() == 1.0


def test_no_block_is_explored_in_evaluation() -> None:
    layer = make().eval()
    x = torch.randn(1, 2, 32, 32, dtype=torch.float64)
    plan = layer.own_plan(x)
    assert plan.explore.shape[1] == 0
    torch.testing.assert_close(layer(x), layer(x, plan.plan), rtol=0, atol=0)


def test_thresholds_are_learned_towards_the_budget() -> None:
    layer = make(evaluator=("learned", {"select": "threshold"}), budget=(0.5, 0.25))
    x = torch.randn(2, 2, 64, 64, dtype=torch.float64)
    optimiser = torch.optim.Adam(layer.evaluator.parameters(), 0.02)
    for _ in range(150):
        plan = layer.own_plan(x)
        penalty = layer.evaluator.cost_penalty(plan.kept)
        optimiser.zero_grad()
        penalty.backward()
        optimiser.step()
    kept = layer.own_plan(x).kept
    assert torch.allclose(kept, kept.new_tensor([0.5, 0.25]), rtol=0.2)


@pytest.mark.parametrize("side", [256, 512])
def test_the_evaluator_costs_little_beside_the_rounds(side: int) -> None:
    layer = QuadtreeConv(2, 32, 32, evaluator="learned")
    assert layer.evaluator is not None
    assert layer.evaluator.macs((side, side)) <= 0.05 * layer.dense_macs((side, side))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.5}, "a learned evaluator has no fixed threshold; give budget"),
        ({"evaluator": ("gradient", {"hidden": 3})}, "evaluator 'gradient' has no option hidden"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
    ],
)
def test_says_what_is_wrong_with_its_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_refuses_a_guide() -> None:
    x = torch.randn(1, 2, 32, 32, dtype=torch.float64)
    with pytest.raises(ValueError, match="reads the layer's own features; call it without guide"):
        make()(x, guide=x)
