"""The penalty on active multiply-adds: what is recorded, and where its gradient goes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medseg.layers import QuadtreeConv
from medseg.losses import ActiveMacs, CostPenalty, record_active_macs


def layer(**options: Any) -> QuadtreeConv:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return QuadtreeConv(2, 3, 3, **{"rounds": 2, "root": 2, "root_kernel": 1, **options})


def learned(**options: Any) -> QuadtreeConv:
    return layer(budget=(0.5, 0.5), evaluator=("learned", {"select": "threshold"}), **options)


def image(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_records_what_a_fixed_partition_costs() -> None:
    net, x = nn.Sequential(layer(), layer(budget=(1, 1))), image()
    with record_active_macs(net) as costs:
        net(x)
    assert [int(cost.active) for cost in costs] == [
        net[0].macs(net[0].own_plan(x), (32, 32)),
        2 * net[1].dense_macs((32, 32)),
    ]
    assert [cost.dense for cost in costs] == [2 * part.dense_macs((32, 32)) for part in net]


def test_records_a_learned_partition_also_where_another_layer_takes_it() -> None:
    first, second = learned().eval(), layer()
    x = image()
    with record_active_macs(nn.ModuleList([first, second])) as costs:
        plan = first.own_plan(x)
        second(first(x, plan), plan=plan)
    assert len(costs) == 2
    assert costs[0].active.item() == pytest.approx(first.macs(plan.plan, (32, 32)))
    torch.testing.assert_close(costs[0].active, costs[1].active)


def test_nothing_is_left_on_the_network() -> None:
    net = nn.Sequential(learned())
    with record_active_macs(net) as costs:
        net(image())
    net(image())
    assert len(costs) == 1
    assert not any(module._forward_hooks for module in net.modules())


def test_the_gradient_lowers_the_scores_of_blocks_and_reaches_nothing_else() -> None:
    net = learned().eval()
    with record_active_macs(net) as costs:
        net(image())
    CostPenalty(budget=0.01)(costs).backward()
    with_gradient = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert "evaluator.threshold" in with_gradient
    assert all(name.startswith("evaluator.") for name in with_gradient)
    assert (net.evaluator.threshold.grad <= 0).all()


def test_descent_brings_a_network_within_its_budget() -> None:
    net = learned().eval()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    shares = []
    for step in range(60):
        with record_active_macs(net) as costs:
            net(image(step % 3))
        shares.append(costs[0].active.item() / costs[0].dense)
        optimiser.zero_grad()
        CostPenalty(budget=0.4, weight=1)(costs).backward()
        optimiser.step()
    assert shares[0] > 0.6
    assert max(shares[-3:]) < 0.5


def test_is_zero_within_the_budget_and_quadratic_beyond() -> None:
    penalty = CostPenalty(budget=0.5, weight=2)
    assert penalty([ActiveMacs(torch.tensor(30.0), 100)]).item() == 0
    assert penalty([ActiveMacs(torch.tensor(90.0), 100), ActiveMacs(torch.tensor(60.0), 100)]).item() == pytest.approx(
        2 * 0.5**2
    )


@pytest.mark.parametrize(
    ("options", "message"), [({"budget": 0}, "budget is 0; expected a share above 0"), ({"weight": -1}, "weight is -1")]
)
def test_options_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CostPenalty(**options)


def test_nothing_to_count_is_an_error() -> None:
    with pytest.raises(ValueError, match="no costs; call the network inside"):
        CostPenalty()([])
    with pytest.raises(ValueError, match="Conv2d has no QuadtreeConv layer"), record_active_macs(nn.Conv2d(1, 1, 1)):
        pass
