"""What a plan costs and covers: active shares, multiply-adds, share of a target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medseg.partition.plan import BlockPlan


class Macs(NamedTuple):
    """Multiply-adds of the convolutions of all rounds, over the whole batch.

    Attributes:
        active: of the plan: voxels of the image inside the rounds' sets.
        dense: of as many convolutions of the whole image.
        ratio: active / dense.

    Example:
        >>> from medseg.partition import Macs
        >>> Macs(active=50, dense=200, ratio=0.25).ratio
        0.25
    """

    active: int
    dense: int
    ratio: float


def active_voxels(plan: BlockPlan, size: Sequence[int]) -> Tensor:
    """Voxels of a map of the given size inside every round's set: int64 ``[R, B]``; tiles are cut at its border.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, active_voxels, make_plan
        >>> plan = make_plan(torch.eye(8)[None, None], PlanSettings(rounds=2, root=1))
        >>> active_voxels(plan, (8, 8)).tolist()
        [[32], [16]]
    """
    tile = plan.tile(tuple(size))
    volume = torch.ones((), dtype=torch.int64, device=plan.mask.device)
    for axis, (s, t, g) in enumerate(zip(size, tile, plan.grid, strict=True)):
        line = (s - torch.arange(g, device=plan.mask.device) * t).clamp(0, t)
        volume = volume * line.reshape([g if a == axis else 1 for a in range(len(plan.grid))])
    return (plan.mask * volume).flatten(2).sum(2)


def active_fractions(plan: BlockPlan, size: Sequence[int]) -> Tensor:
    """Share of the voxels inside every round's set, over the batch: float64 ``[R]``.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, active_fractions, make_plan
        >>> plan = make_plan(torch.eye(8)[None, None], PlanSettings(rounds=2, root=1))
        >>> active_fractions(plan, (8, 8)).tolist()
        [0.5, 0.25]
    """
    total = max(1, plan.batch * math.prod(size))
    return active_voxels(plan, size).sum(1).double() / total


def count_macs(plan: BlockPlan, size: Sequence[int], channels: int, kernel_size: int = 3) -> Macs:
    """Counts the multiply-adds of one convolution per round, from ``channels`` to ``channels``.

    Args:
        plan: the plan.
        size: spatial size of the map that the convolutions run on.
        channels: channels of the map.
        kernel_size: side of the kernels.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, count_macs, make_plan
        >>> plan = make_plan(torch.eye(8)[None, None], PlanSettings(rounds=2, root=1))
        >>> count_macs(plan, (8, 8), channels=4)
        Macs(active=6912, dense=18432, ratio=0.375)
    """
    per_voxel = channels * channels * kernel_size ** len(size)
    active = int(active_voxels(plan, size).sum()) * per_voxel
    dense = plan.rounds * plan.batch * math.prod(size) * per_voxel
    return Macs(active, dense, active / dense if dense else 0.0)


def target_cover(plan: BlockPlan, target: Tensor) -> Tensor:
    """Share of a target's voxels inside every round's set, over the batch.

    Args:
        plan: the plan.
        target: ``[B, C, *S]``; what is above 0 in any channel is target.

    Returns:
        float64 ``[R]``; NaN where there is no target.

    Raises:
        ValueError: if the target's batch or number of axes is another than the plan's.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, make_plan, target_cover
        >>> image = torch.eye(8)[None, None]
        >>> plan = make_plan(image, PlanSettings(rounds=2, root=1))
        >>> target_cover(plan, target=image).tolist()
        [1.0, 0.5]
    """
    if target.ndim != len(plan.grid) + 2 or target.shape[0] != plan.batch:
        raise ValueError(
            f"target has shape {list(target.shape)}; expected [{plan.batch}, C, *S] with {len(plan.grid)} spatial axes"
        )
    voxels = (target > 0).any(1)
    covered = voxel_masks(plan, target.shape[2:]) & voxels
    return covered.flatten(1).sum(1).double() / voxels.sum().double()


def voxel_masks(plan: BlockPlan, size: Sequence[int]) -> Tensor:
    """The sets of all rounds at the resolution of a map: bool ``[R, B, *size]``.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, make_plan, voxel_masks
        >>> plan = make_plan(torch.eye(8)[None, None], PlanSettings(rounds=2, root=1))
        >>> voxel_masks(plan, (8, 8)).shape
        torch.Size([2, 1, 8, 8])
    """
    masks = plan.mask
    for axis, (s, t) in enumerate(zip(size, plan.tile(tuple(size)), strict=True), start=2):
        masks = masks.repeat_interleave(t, axis).narrow(axis, 0, s)
    return masks
