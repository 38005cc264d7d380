"""Rejected tiles that are computed in training as well, so that an evaluator learns from what it rejected."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medseg.ops.quadtree_plan import active_lists, expand_grid, inside_mask
from medseg.partition.layout import BlockLayout
from medseg.partition.plan import BlockPlan


def kept_blocks(plan: BlockPlan, layout: BlockLayout) -> list[Tensor]:
    """The sets of a plan at the resolution of each round's blocks: bool ``[B, *grids[r]]`` per round.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, block_layout, kept_blocks, make_plan
        >>> settings = PlanSettings(rounds=1, root=1)
        >>> plan = make_plan(torch.eye(8)[None, None], settings)
        >>> kept_blocks(plan, block_layout((8, 8), settings))[0].tolist()
        [[[True, False], [False, True]]]
    """
    masks = []
    for mask, grid in zip(plan.mask, layout.grids, strict=True):
        # The first tile of a block that reaches into the image is inside it.
        firsts = [slice(None)]
        firsts += [slice(None, None, tiles // blocks) for tiles, blocks in zip(mask.shape[1:], grid, strict=True)]
        masks.append(mask[tuple(firsts)])
    return masks


def candidate_blocks(kept: list[Tensor], layout: BlockLayout) -> list[Tensor]:
    """The blocks each round chooses from: those inside the image whose parent was kept; bool ``[B, *grids[r]]``.

    Example:
        The children of the kept blocks are the candidates of the next round:

        >>> import torch
        >>> from medseg.partition import PlanSettings, block_layout, candidate_blocks, kept_blocks, make_plan
        >>> settings = PlanSettings(rounds=2, root=1)
        >>> layout = block_layout((8, 8), settings)
        >>> kept = kept_blocks(make_plan(torch.eye(8)[None, None], settings), layout)
        >>> [int(c.sum()) for c in candidate_blocks(kept, layout)]
        [4, 8]
    """
    above = [torch.ones_like(kept[0]), *(expand_grid(k, g) for k, g in zip(kept, layout.grids[1:], strict=False))]
    return [a & inside_mask(layout.size, g, layout.grid, a.device) for a, g in zip(above, layout.grids, strict=True)]


def explore_tiles(
    kept: list[Tensor], layout: BlockLayout, share: float, generator: torch.Generator | None = None
) -> Tensor:
    """Draws rejected blocks of every round and lists their tiles.

    A round rejects the candidates (children of kept blocks) that it does not keep. Whole blocks are drawn, without
    repetition, ``ceil(share * rejected)`` per sample and round.

    Args:
        kept: the sets at block resolution, see `kept_blocks`.
        layout: layout of the plan.
        share: part of the rejected blocks that is drawn, 0 to 1.
        generator: source of randomness; default: torch's own.

    Returns:
        int32 ``[R, E]``, tile numbers in ascending order, then -1; E does not depend on the image.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, block_layout, explore_tiles, kept_blocks, make_plan
        >>> settings = PlanSettings(rounds=1, root=1)
        >>> layout = block_layout((8, 8), settings)
        >>> kept = kept_blocks(make_plan(torch.eye(8)[None, None], settings), layout)
        >>> explore_tiles(kept, layout, share=1.0).tolist()
        [[1, 2, -1, -1]]
    """
    batch, device = kept[0].shape[0], kept[0].device
    tiles, rows, widths = math.prod(layout.grid), [], []
    for mask, candidate, grid in zip(kept, candidate_blocks(kept, layout), layout.grids, strict=True):
        rejected = (candidate & ~mask).flatten(1)
        at = device if generator is None else generator.device
        draw = torch.rand(rejected.shape, device=at, generator=generator).to(device)
        order = torch.where(rejected, draw, 2.0).argsort(1)
        rank = torch.arange(order.shape[1], device=device).expand(order.shape)
        wanted = (rejected.sum(1, keepdim=True) * share - 1e-6).ceil()
        chosen = torch.zeros_like(rejected).scatter(1, order, rank < wanted).reshape(mask.shape)
        rows.append(expand_grid(chosen, layout.grid))
        blocks = math.prod(grid)
        widths.append(min(tiles, math.ceil(share * blocks - 1e-6) * (tiles // blocks)))
    inside = inside_mask(layout.size, layout.grid, layout.grid, device)
    return active_lists(torch.stack(rows) & inside, batch * max(widths))[0]
