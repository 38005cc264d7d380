"""One partition of the image for all adaptive convolutions of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from monai.data import MetaTensor
from torch import Tensor

from medseg.layers.quadtree_conv import AnyPlan
from medseg.partition import BlockPlan, PlanSettings, make_plan

__all__ = ["SharedPlan"]


class SharedPlan:
    """Makes and checks the plan that serves the finest levels of a network, each half the size of the one before.

    A tile covers the same ground at every level, so its side on the image must be a multiple of 2 to the number of
    levels minus 1.

    Args:
        owner: name of the network, for messages.
        settings: what the partition shall be. ``root=None``: as many roots as leave 8 voxels to a tile at the lowest
            of the levels, at least 2.
        levels: how many levels it serves; 0: none.
    """

    def __init__(self, owner: str, settings: PlanSettings, levels: int) -> None:
        self.owner, self.settings, self.levels = owner, settings, levels

    def make(self, guide: Tensor) -> BlockPlan:
        """The plan of an image ``[B, any, *S]`` that has the size of the network's input."""
        settings = self.settings
        if settings.root is None:
            tile = 8 * self.scale
            settings = replace(settings, root=max(2, min(guide.shape[2:]) // (tile * 2**settings.rounds)))
        return make_plan(guide.as_tensor() if isinstance(guide, MetaTensor) else guide, settings)

    @property
    def scale(self) -> int:
        """By how much the lowest level is smaller than the image."""
        return 2 ** max(0, self.levels - 1)

    def check(self, plan: AnyPlan, size: Sequence[int]) -> None:
        """Raises ValueError unless the plan's tiles are whole at every level of an image of spatial size ``size``."""
        grid, scale = (plan if isinstance(plan, BlockPlan) else plan.plan).grid, self.scale
        if len(grid) != len(size):
            raise ValueError(f"{self.owner}: plan of {len(grid)} axes for an image of size {list(size)}")
        if any(-(-s // g) != scale * -(-(s // scale) // g) for s, g in zip(size, grid, strict=True)):
            raise ValueError(
                f"{self.owner}: {list(grid)} tiles on an image of size {list(size)} are not whole at "
                f"1/{scale} of it; expected tiles with sides that are multiples of {scale}: another root, fewer "
                f"adaptive levels, or an image with sides that are multiples of {[scale * g for g in grid]}"
            )
