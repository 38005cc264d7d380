"""A small learned evaluator of blocks: it selects the parts of a map that get more convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from monai.data import MetaTensor
from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn

from medseg._arguments import checked_arguments
from medseg.layers.map_check import check_map
from medseg.layers.named import Named, named_act, named_norm
from medseg.ops.quadtree_plan import expand_grid, inside_mask, pool_blocks, quadtree_select
from medseg.partition import (
    BlockLayout,
    BlockPlan,
    PlanSettings,
    block_layout,
    candidate_blocks,
    explore_tiles,
    kept_blocks,
)

__all__ = ["EvaluatedPlan", "LearnedEvaluator", "evaluator_cell"]

SELECTIONS = ("budget", "threshold")


class EvaluatedPlan(NamedTuple):
    """Result of an evaluator, the input of the adaptive convolution.

    Attributes:
        plan: the selected blocks.
        gate: ``[R, B * G]``, the gate of every tile: 1 if the tile is selected, else 0, with the gradient of
            ``sigmoid((v - t) / T)``; None if gradients are off.
        explore: int32 ``[R, E]``, rejected tiles whose gate gradient is computed, padded with -1; E = 0 in evaluation.
        kept: ``[R]``, share of the blocks of each round that is kept, differentiable like the gates.

    Example:
        >>> layer = QuadtreeConv(2, 4, 4, rounds=1, root=2, budget=(0.25,), evaluator="learned")
        >>> evaluated = layer.own_plan(torch.randn(1, 4, 32, 32))
        >>> type(evaluated).__name__, evaluated.plan.grid
        ('EvaluatedPlan', (4, 4))
        >>> evaluated.kept.tolist()
        [0.25]
    """

    plan: BlockPlan
    gate: Tensor | None
    explore: Tensor
    kept: Tensor


def evaluator_cell(tile: Sequence[int]) -> tuple[int, ...]:
    """Side of a cell of the evaluator along each axis.

    It is the smallest divisor of the tile's side that gives at most 4 cells and is at least 4 voxels (for tiles of less
    than 8 voxels: half of the tile). It is 1 for tiles of one voxel.
    """
    return tuple(next((c for c in range(min(4, max(2, t // 2)), t + 1) if t % c == 0 and t // c <= 4), 1) for t in tile)


def cell_means(x: Tensor, cell: Sequence[int]) -> Tensor:
    """Mean of every cell of a map ``[B, C, *S]``: ``[B, C, *ceil(S / cell)]``; of border cells, the part in the map.

    On a CPU, pooling reaches the speed of the memory only for channels-last tensors. A contiguous map is therefore
    viewed with its last axis as channels: all other axes are pooled this way, the last one by a product with a vector.
    """
    pool = Pool[Pool.AVG, x.ndim - 2]
    divided = all(s % c == 0 for s, c in zip(x.shape[2:], cell, strict=True))
    if x.device.type != "cpu" or not x.is_contiguous() or not divided:
        return pool(tuple(cell), tuple(cell), ceil_mode=True, count_include_pad=False)(x)
    *outer, width = x.shape[2:]
    lines = x.reshape(-1, *outer, 1, width).movedim(-1, 1)
    pooled = pool((*cell[:-1], 1), (*cell[:-1], 1))(lines).movedim(1, -1)
    means = pooled.reshape(-1, cell[-1]) @ x.new_full((cell[-1],), 1 / cell[-1])
    return means.reshape(*x.shape[:2], *(s // c for s, c in zip(x.shape[2:], cell, strict=True)))


@checked_arguments
class LearnedEvaluator(nn.Module):
    """Scores blocks by a small convolutional network on a pooled copy of the map, and selects the best ones.

    The map is detached and averaged over cells (about a quarter of a tile's side). conv3 - norm - act - conv3 gives one
    value per cell, and the score v of a block is the maximum of its cells. Selection is a step function with a
    straight-through gradient: the gate of a block is ``m + s - stop_gradient(s)``, where m is 1 for selected blocks,
    else 0, and ``s = sigmoid((v - t) / T)``. With ``select="budget"`` the share of every round is fixed and t is the
    lowest score that is kept. With ``select="threshold"`` t is a learned parameter per round, the budget is only a
    target, and `cost_penalty` must be added to the loss.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the map.
        settings: rounds, root, budget and spacing of the partition (``metric``, ``reduce`` and ``threshold`` are
            ignored). The budget is required.
        select: ``"budget"`` or ``"threshold"``.
        hidden: channels of the hidden layer; by default an eighth of ``in_channels``, at least 2.
        temperature: T, above 0.
        explore: share of the rejected blocks that is computed in training, 0 to 1.
        norm: normalisation of the hidden layer, as MONAI names it.
        act: activation of the hidden layer, as MONAI names it.

    Raises:
        ValueError: for a value that is not allowed.

    Example:
        >>> from medseg.partition import PlanSettings
        >>> evaluator = LearnedEvaluator(2, in_channels=4, settings=PlanSettings(rounds=2, root=2, budget=(0.5, 0.25)))
        >>> evaluated = evaluator(torch.randn(1, 4, 32, 32))
        >>> evaluated.plan.count.tolist()
        [32, 16]
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        settings: PlanSettings | None = None,
        select: str = "budget",
        hidden: int | None = None,
        temperature: float = 1.0,
        explore: float = 0.05,
        norm: Named = "batch",
        act: Named = "relu",
    ) -> None:
        super().__init__()
        settings = settings or PlanSettings()
        if settings.budget is None:
            raise ValueError("LearnedEvaluator needs a budget: the share kept, or with select='threshold' its target")
        if select not in SELECTIONS:
            raise ValueError(f"select is {select!r}; expected one of {', '.join(SELECTIONS)}")
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; expected a number above 0")
        if not 0 <= explore <= 1:
            raise ValueError(f"explore is {explore}; expected a share from 0 to 1")
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.settings, self.select, self.temperature, self.explore = settings, select, temperature, explore
        self.hidden = hidden or max(2, in_channels // 8)
        conv = Conv[Conv.CONV, spatial_dims]
        self.net = nn.Sequential(
            conv(in_channels, self.hidden, 3, padding=1, bias=False),
            named_norm("LearnedEvaluator", "norm", norm, spatial_dims, self.hidden),
            named_act("LearnedEvaluator", "act", act),
            conv(self.hidden, 1, 3, padding=1),
        )
        self.threshold = nn.Parameter(torch.zeros(settings.rounds)) if select == "threshold" else None

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> EvaluatedPlan:
        """Selects the blocks of a map.

        Args:
            x: ``[B, C, *S]``; it gets no gradient.
            generator: random generator for the blocks that are explored in training. None: torch's default.

        Raises:
            ValueError: for a map of another shape.
        """
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"LearnedEvaluator: x has shape {list(x.shape)}; expected [B, {self.in_channels}, *S] "
                f"with {self.spatial_dims} spatial axes"
            )
        x = x.as_tensor() if isinstance(x, MetaTensor) else x
        check_map("LearnedEvaluator", x, self)
        layout = block_layout(x.shape[2:], self.settings)
        scores = pool_blocks(self.cell_scores(x, layout), layout.grids, "max")
        levels = list(scores.split([math.prod(g) for g in layout.grids], 1))
        if self.threshold is not None:
            levels = [v - t for v, t in zip(levels, self.threshold, strict=True)]
        plan = self._select(levels, layout)
        kept = kept_blocks(plan, layout)
        gates = self._gates(levels, kept, layout) if torch.is_grad_enabled() else [k.to(scores.dtype) for k in kept]
        counts = torch.tensor(layout.block_counts, device=x.device, dtype=scores.dtype)
        share = torch.stack([g.flatten(1).sum(1).mean() for g in gates]) / counts
        gate = None
        if torch.is_grad_enabled():
            inside = inside_mask(layout.size, layout.grid, layout.grid, x.device)
            gate = torch.stack([(expand_grid(g, layout.grid) * inside).flatten() for g in gates])
        explore = plan.index.new_empty(self.settings.rounds, 0)
        if self.training and self.explore > 0:
            explore = explore_tiles(kept, layout, self.explore, generator)
        return EvaluatedPlan(plan, gate, explore, share)

    def cell_scores(self, x: Tensor, layout: BlockLayout) -> Tensor:
        """One value per cell, ``[B, 1, *ceil(S / cell)]``."""
        cell = evaluator_cell(layout.tile)
        return self.net(cell_means(x.detach(), cell))

    def cost_penalty(self, kept: Tensor) -> Tensor:
        """Mean squared relative difference of the kept shares from the budget: add it to the loss, times a weight.

        Args:
            kept: field ``kept`` of the `EvaluatedPlan`.
        """
        kept = kept if kept.dtype == torch.float64 else kept.float()  # the square does not fit in 16 bits
        target = kept.new_tensor(self.settings.budget)
        return ((kept - target) / target).square().mean()

    def macs(self, size: Sequence[int]) -> int:
        """Multiply-adds on a map of one sample of the given spatial size."""
        layout = block_layout(size, self.settings)
        cells = math.prod(math.ceil(s / c) for s, c in zip(size, evaluator_cell(layout.tile), strict=True))
        return cells * 3**self.spatial_dims * self.hidden * (self.in_channels + 1)

    def _select(self, levels: list[Tensor], layout: BlockLayout) -> BlockPlan:
        """The blocks with scores above the thresholds, or the best ones within the budget."""
        flat = torch.cat(levels, 1)
        if self.threshold is not None:
            everything, limit = layout.block_counts, (0.0,) * len(levels)
            return BlockPlan(*quadtree_select(flat, layout.size, layout.grids, everything, limit))
        return BlockPlan(*quadtree_select(flat, layout.size, layout.grids, layout.keep))

    def _gates(self, levels: list[Tensor], kept: list[Tensor], layout: BlockLayout) -> list[Tensor]:
        """1 for selected blocks, else 0, with the gradient of the sigmoid for all candidates."""
        gates = []
        for v, k, c in zip(levels, kept, candidate_blocks(kept, layout), strict=True):
            if self.threshold is None:  # the threshold is the lowest score that was kept
                v = v - torch.where(k.flatten(1), v, math.inf).amin(1, keepdim=True).detach()
            soft = torch.sigmoid(torch.where(c.flatten(1), v / self.temperature, -math.inf)).reshape(k.shape)
            gates.append(k.to(soft.dtype) + soft - soft.detach())
        return gates
