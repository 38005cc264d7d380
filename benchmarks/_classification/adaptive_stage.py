"""The rounds that a row adds at one map: quadtree convolution under some partition, its dense equal, or nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks._classification.rows import BUDGET, Row
from medseg.layers import DenseConvRounds, EvaluatedPlan, QuadtreeConv
from medseg.partition import BlockPlan, PlanSettings, make_plan, plan_from_scores

ROOT = 2
"""Root blocks along each axis: on a 64 x 64 map the blocks of rounds 1, 2, 3 have 16, 8 and 4 pixels."""
SMOOTHING = 4
"""Partitions are made from the image averaged over squares of this side, so that noise does not decide."""


class AdaptiveStage(nn.Module):
    """Rounds of convolution, batch norm and ReLU, each added to the map (mode "sum").

    Args:
        row: number of rounds and their partition.
        channels: channels of the map.
        spatial_dims: 2 or 3.
    """

    def __init__(self, row: Row, channels: int, spatial_dims: int = 2) -> None:
        super().__init__()
        self.partition = row.partition
        self.off = False
        self.layer: DenseConvRounds | QuadtreeConv | None = None
        common: dict[str, Any] = {"rounds": row.rounds, "mode": "sum", "norm": "batch", "bias": False}
        if row.partition == "dense":
            self.layer = DenseConvRounds(spatial_dims, channels, channels, **common)
        elif row.partition:
            self.layer = QuadtreeConv(
                spatial_dims, channels, channels, root=ROOT, budget=BUDGET[: row.rounds],
                evaluator="learned" if row.partition == "learned" else "gradient", **common,
            )  # fmt: skip
        metric = "random" if row.partition == "random" else "gradient"
        self.settings = PlanSettings(max(row.rounds, 1), ROOT, BUDGET[: max(row.rounds, 1)], metric=metric)
        self.plan: BlockPlan | None = None
        self.size: tuple[int, ...] = ()

    def forward(self, x: Tensor, image: Tensor, mask: Tensor | None) -> Tensor:
        """The map after its rounds.

        Args:
            x: ``[B, C, *S]``.
            image: the network's input, ``[B, 1, *image]``; what the gradient partition is made from.
            mask: the target ``[B, 1, *image]``; what the oracle partition is made from.
        """
        if self.off or self.layer is None:
            return x
        if self.partition == "dense":
            return self.layer(x)
        self.size = tuple(x.shape[2:])
        plan = self._plan(x, image, mask)
        self.plan = plan if isinstance(plan, BlockPlan) else plan.plan
        return self.layer(x, plan)

    def _plan(self, x: Tensor, image: Tensor, mask: Tensor | None) -> BlockPlan | EvaluatedPlan:
        if isinstance(self.layer, QuadtreeConv) and self.partition == "learned":
            return self.layer.own_plan(x)
        if self.partition == "oracle":
            if mask is None:
                raise ValueError("the oracle partition needs the target's mask; these images have none")
            return plan_from_scores(mask.to(image.dtype), self.settings)
        pool = functional.avg_pool2d if image.dim() == 4 else functional.avg_pool3d
        return make_plan(pool(image, SMOOTHING).contiguous(), self.settings)

    def macs(self) -> float:
        """Multiply-adds of the rounds in the last call, of the whole batch; a learned evaluator's are left out."""
        if not isinstance(self.layer, QuadtreeConv) or self.plan is None:
            raise ValueError("counts quadtree convolution that has run; the rest is counted with the network")
        return float(self.layer.macs(self.plan, self.size))

    @torch.no_grad()
    def health(self, mask: Tensor | None) -> dict[str, Any]:
        """Share of the map in each round's set, and share of the target's pixels inside it, in the last call."""
        if self.plan is None:
            return {}
        sets = self.plan.mask.float()
        found = {"active": [round(float(part.mean()), 3) for part in sets]}
        if mask is not None:
            inside = [functional.interpolate(part[:, None], size=mask.shape[2:], mode="nearest") for part in sets]
            found["cover"] = [round(float((part * mask).sum() / mask.sum()), 3) for part in inside]
        return found
