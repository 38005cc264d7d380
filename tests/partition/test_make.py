"""Plans of blocks: nested, aligned, exact in number, and independent of the other images of the batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from medseg.partition import BlockPlan, PlanSettings, block_layout, make_plan, plan_from_scores

SIZES = [(64, 64), (100, 130), (61, 35), (24, 40, 33)]


def image(size: tuple[int, ...], batch: int = 2, channels: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)


def blocks_of(plan: BlockPlan, r: int, grid: tuple[int, ...]) -> Tensor:
    """Whether any tile of a block is active, bool [B, *grid]."""
    cut = plan.mask[r].reshape(-1, *(v for g, n in zip(plan.grid, grid, strict=True) for v in (n, g // n)))
    for axis in range(2 * len(grid), 0, -2):
        cut = cut.any(dim=axis)
    return cut


def coarse_to_tiles(mask: Tensor, grid: tuple[int, ...]) -> Tensor:
    for axis, g in enumerate(grid, start=1):
        mask = mask.repeat_interleave(g // mask.shape[axis], axis)
    return mask


@pytest.mark.parametrize("metric", ["gradient", "variance", "range", "entropy", "random"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_round_is_a_union_of_its_blocks_inside_the_round_before(size: tuple[int, ...], metric: str) -> None:
    settings = PlanSettings(rounds=3, metric=metric)
    layout, plan = block_layout(size, settings), make_plan(image(size), settings)
    inside = torch.ones(1, *layout.grid, dtype=torch.bool)
    for axis, (s, t) in enumerate(zip(size, layout.tile, strict=True), start=1):
        line = torch.arange(layout.grid[axis - 1]) * t < s
        inside = inside & line.reshape([-1 if a == axis else 1 for a in range(len(size) + 1)])
    before = inside.expand(2, *layout.grid)
    for r, grid in enumerate(layout.grids):
        union = coarse_to_tiles(blocks_of(plan, r, grid), layout.grid) & inside
        assert torch.equal(plan.mask[r], union)
        assert not (plan.mask[r] & ~before).any()
        before = plan.mask[r]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_lists_name_the_tiles_of_the_masks_in_ascending_order(size: tuple[int, ...]) -> None:
    settings = PlanSettings(rounds=2, threshold=0.55, metric="random")
    plan = make_plan(image(size, batch=3), settings)
    assert plan.index.dtype == plan.count.dtype == torch.int32
    for row, n, mask in zip(plan.index, plan.count, plan.mask, strict=True):
        assert torch.equal(row[:n].long(), mask.flatten().nonzero()[:, 0])
        assert (row[n:] == -1).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_budget_keeps_its_share_of_the_blocks_inside_the_image(size: tuple[int, ...]) -> None:
    settings = PlanSettings(rounds=3, budget=(0.5, 0.3, 0.1))
    layout, plan = block_layout(size, settings), make_plan(image(size), settings)
    for r, (grid, share) in enumerate(zip(layout.grids, settings.budget or (), strict=True)):
        blocks = [-(-s // (t * g // n)) for s, t, g, n in zip(size, layout.tile, layout.grid, grid, strict=True)]
        wanted = max(1, math.floor(share * math.prod(blocks)))
        assert blocks_of(plan, r, grid).flatten(1).sum(1).tolist() == [wanted, wanted]


def test_scores_of_a_mask_keep_the_blocks_that_hold_it() -> None:
    target = torch.zeros(1, 1, 64, 64)
    target[0, 0, 41, 22] = 1
    plan = plan_from_scores(target, PlanSettings(rounds=3, root=2, threshold=0.5))
    assert plan.count.tolist() == [16, 4, 1]
    assert plan.index[2, 0].item() == 41 // 4 * 16 + 22 // 4


def test_a_threshold_above_the_maximum_keeps_nothing() -> None:
    plan = make_plan(image((32, 32)), PlanSettings(rounds=2, threshold=1e6))
    assert plan.count.tolist() == [0, 0]
    assert not plan.mask.any()
    assert (plan.index == -1).all()
