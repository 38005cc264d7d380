"""A penalty on the multiply-adds of adaptive convolutions, for networks that learn which blocks to compute."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from medseg._arguments import checked_arguments
from medseg.layers import EvaluatedPlan, LearnedEvaluator, QuadtreeConv
from medseg.losses._cross_entropy import in_float32
from medseg.losses.rank_sums import ratio_over_ranks

__all__ = ["ActiveMacs", "CostPenalty", "record_active_macs"]


class ActiveMacs(NamedTuple):
    """Cost of one call of an adaptive convolution.

    Attributes:
        active: scalar, multiply-adds of the root kernel and the active blocks; differentiable if the selection of
            blocks is learned.
        dense: multiply-adds of the same rounds on the whole map.

    Example:
        >>> cost = ActiveMacs(active=torch.tensor(30.0), dense=100)
        >>> float(cost.active) / cost.dense
        0.3
    """

    active: Tensor
    dense: int


@contextmanager
def record_active_macs(network: nn.Module) -> Iterator[list[ActiveMacs]]:
    """Records the cost of every `QuadtreeConv` that runs inside the ``with`` block, in the order of the calls.

        with record_active_macs(network) as costs:
            logits = network(image)
        loss = criterion(logits, label) + penalty(costs)

    Args:
        network: any module with `QuadtreeConv` layers.

    Yields:
        The list that the costs are appended to.

    Raises:
        ValueError: if the network has no such layer.

    Example:
        >>> from medseg.layers import QuadtreeConv
        >>> network = torch.nn.Sequential(QuadtreeConv(2, 3, 3, rounds=2, root=2))
        >>> with record_active_macs(network) as costs:
        ...     features = network(torch.zeros(1, 3, 32, 32))
        >>> len(costs)
        1
        >>> bool(costs[0].active <= costs[0].dense)
        True
    """
    layers = [module for module in network.modules() if isinstance(module, QuadtreeConv)]
    if not layers:
        raise ValueError(f"record_active_macs: {type(network).__name__} has no QuadtreeConv layer; nothing to count")
    costs: list[ActiveMacs] = []
    own: dict[nn.Module, EvaluatedPlan] = {}

    def evaluated(evaluator: nn.Module, _: tuple[Any, ...], plan: EvaluatedPlan) -> None:
        own[evaluator] = plan

    def called(layer: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], _: Tensor) -> None:
        assert isinstance(layer, QuadtreeConv)
        x = options.get("x", inputs[0] if inputs else None)
        plan = options.get("plan", inputs[1] if len(inputs) > 1 else None)
        if plan is None:
            guide = options.get("guide", inputs[2] if len(inputs) > 2 else None)
            plan = layer.own_plan(x, guide) if layer.evaluator is None else own[layer.evaluator]
        costs.append(_cost(layer, plan, x))

    handles = [m.register_forward_hook(evaluated) for m in network.modules() if isinstance(m, LearnedEvaluator)]
    handles += [layer.register_forward_hook(called, with_kwargs=True) for layer in layers]
    try:
        yield costs
    finally:
        for handle in handles:
            handle.remove()


@checked_arguments
class CostPenalty(_Loss):
    """``weight (max(0, share - budget) / budget)^2``, where share is active over dense multiply-adds.

    The budget is for the whole network; training decides how it is distributed over the layers. Use the penalty with
    learned thresholds, ``evaluator=("learned", {"select": "threshold"})``: if budgets fix the number of blocks, the
    share cannot change. A learned share counts blocks, so a block that extends beyond the image is counted in full. For
    a target share of every round of every layer, use `LearnedEvaluator.cost_penalty`.

    Args:
        budget: share of the dense cost that is not penalised, 1e-6 to 1.
        weight: factor of the penalty, 0 or more.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> penalty = CostPenalty(budget=0.5, weight=2.0)
        >>> penalty([ActiveMacs(torch.tensor(30.0), 100)])
        tensor(0.)
        >>> penalty([ActiveMacs(torch.tensor(75.0), 100)])
        tensor(0.5000)
    """

    reduces_over_ranks = True

    def __init__(self, budget: float = 0.3, weight: float = 0.1) -> None:
        super().__init__()
        if not 1e-6 <= budget <= 1:
            raise ValueError(f"CostPenalty: budget is {budget}; expected a share above 0 (1e-6 or more), at most 1")
        if not 0 <= weight < math.inf:
            raise ValueError(f"CostPenalty: weight is {weight}; expected a number from 0 that is finite")
        self.budget, self.weight = budget, weight

    def forward(self, costs: list[ActiveMacs]) -> Tensor:
        """The penalty of one call of the network.

        Args:
            costs: the list that `record_active_macs` filled.

        Returns:
            A scalar; 0 if the share is within the budget.

        Raises:
            ValueError: if no cost was recorded.
        """
        if not costs:
            raise ValueError("CostPenalty: no costs; call the network inside record_active_macs(network)")
        # Counts of multiply-adds do not fit in 16 bits.
        active = torch.stack([in_float32(cost.active) for cost in costs]).sum()
        share = ratio_over_ranks(active, float(sum(cost.dense for cost in costs)))
        return self.weight * ((share / self.budget - 1).clamp(min=0)).square()


def _cost(layer: QuadtreeConv, plan: Any, x: Tensor) -> ActiveMacs:
    size, batch = tuple(x.shape[2:]), x.shape[0]
    dense = batch * layer.dense_macs(size)
    if not isinstance(plan, EvaluatedPlan):
        return ActiveMacs(torch.tensor(float(layer.macs(plan, size)), device=x.device), dense)
    rounds = plan.kept.float().sum() * (batch * layer.round_macs(size))
    return ActiveMacs(rounds + batch * layer.root_macs(size), dense)
