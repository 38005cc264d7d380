"""Makes plans in plain tensor code, so that layers may call it while they are traced, compiled or exported."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medseg.ops import quadtree_plan, quadtree_select
from medseg.ops.quadtree_plan import pool_blocks
from medseg.partition.layout import BlockLayout, block_layout
from medseg.partition.plan import BlockPlan
from medseg.partition.settings import RANDOM, PlanSettings


def make_plan(guide: Tensor, settings: PlanSettings, generator: torch.Generator | None = None) -> BlockPlan:
    """The plan of a guide image.

    Args:
        guide: ``[B, C, *S]``; the variation of a block is that of its most varying channel.
        settings: the settings of the partition.
        generator: source of the random scores (``metric="random"``); default: torch's own.

    Raises:
        ValueError: for a guide or settings that do not fit.
        TypeError: for a guide that is not floating.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, make_plan
        >>> plan = make_plan(torch.eye(8)[None, None], PlanSettings(rounds=1, root=1))
        >>> plan.index.tolist(), plan.count.tolist()
        ([[0, 3]], [2])
    """
    return plan_and_scores(guide, settings, generator)[0]


def plan_and_scores(
    guide: Tensor, settings: PlanSettings, generator: torch.Generator | None = None
) -> tuple[BlockPlan, Tensor]:
    """The plan of `make_plan`, and the scores ``[B, sum of blocks]`` of all rounds, round after round in raster order.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, plan_and_scores
        >>> plan, scores = plan_and_scores(torch.eye(8)[None, None], PlanSettings(rounds=1, root=1, metric="range"))
        >>> scores.tolist()
        [[1.0, 0.0, 0.0, 1.0]]
    """
    layout = block_layout(guide.shape[2:], settings)
    if settings.metric == RANDOM:
        scores = random_scores(guide.shape[0], layout, guide.device, generator)
        return BlockPlan(*quadtree_select(scores, layout.size, layout.grids, layout.keep, layout.limit)), scores
    index, count, mask, scores = quadtree_plan(
        guide, layout.grids, layout.keep, layout.limit, settings.metric, settings.reduce, settings.spacing
    )
    return BlockPlan(index, count, mask), scores


def plan_from_scores(scores: Tensor, settings: PlanSettings, size: Sequence[int] | None = None) -> BlockPlan:
    """The plan of given scores, such as an evaluator's map or a target mask.

    Args:
        scores: a map ``[B, C, *S]`` (a block takes the maximum, or with ``reduce="mean"`` the mean, of its voxels, and
            the maximum over the channels), or the scores of the blocks ``[B, sum of blocks]``, round after round in
            raster order.
        settings: the settings of the partition; ``metric`` is ignored.
        size: spatial size of the image, needed for scores of blocks. For a map it defaults to the map's; a map may be
            coarser than the image (one value per cell) if its size is a multiple of the grid of tiles.

    Raises:
        ValueError: for shapes that do not fit.
        TypeError: for scores that are not floating.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, plan_from_scores
        >>> plan = plan_from_scores(torch.eye(8)[None, None], PlanSettings(rounds=1, root=1))
        >>> plan.mask.tolist()
        [[[[True, False], [False, True]]]]
    """
    if size is None and scores.ndim == 2:
        raise ValueError("the size of the image does not follow from scores of blocks [B, blocks]; give size")
    layout = block_layout(scores.shape[2:] if size is None else size, settings)
    blocks = scores if scores.ndim == 2 else pool_blocks(scores, layout.grids, settings.reduce)
    return BlockPlan(*quadtree_select(blocks, layout.size, layout.grids, layout.keep, layout.limit))


def random_scores(
    batch: int, layout: BlockLayout, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Independent uniform scores in [0, 1) for every block of every round."""
    blocks = sum(math.prod(g) for g in layout.grids)
    if generator is None:
        return torch.rand(batch, blocks, device=device)
    return torch.rand(batch, blocks, device=generator.device, generator=generator).to(device)
