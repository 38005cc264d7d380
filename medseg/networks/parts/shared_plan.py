"""One partition of the image that all adaptive convolutions of a network use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from monai.data import MetaTensor
from torch import Tensor

from medseg.layers.quadtree_conv import AnyPlan
from medseg.partition import BlockPlan, PlanSettings, make_plan

__all__ = ["SharedPlan"]


class SharedPlan:
    """Makes and checks the plan for the finest levels of a network, each half the size of the one before.

    A tile covers the same region of the image at every level, so its side in the image must be a multiple of
    ``2^(levels - 1)``.

    Args:
        owner: name of the network, for messages.
        settings: settings of the partition. ``root=None``: as many roots as give tiles of 8 voxels at the lowest of the
            levels, at least 2.
        levels: number of levels that use the plan; 0 for none.
    """

    def __init__(self, owner: str, settings: PlanSettings, levels: int) -> None:
        self.owner, self.settings, self.levels = owner, settings, levels

    def make(self, guide: Tensor) -> BlockPlan:
        """The plan for an image ``[B, any, *S]`` with the size of the input of the network."""
        settings = self.settings
        if settings.root is None:
            tile = 8 * self.scale
            settings = replace(settings, root=max(2, min(guide.shape[2:]) // (tile * 2**settings.rounds)))
        return make_plan(guide.as_tensor() if isinstance(guide, MetaTensor) else guide, settings)

    @property
    def scale(self) -> int:
        """Size of the image divided by the size of the lowest level."""
        return 2 ** max(0, self.levels - 1)

    def check(self, plan: AnyPlan, size: Sequence[int]) -> None:
        """Raises a ValueError unless tiles have whole voxels at every level, for an image of spatial size ``size``."""
        grid, scale = (plan if isinstance(plan, BlockPlan) else plan.plan).grid, self.scale
        if len(grid) != len(size):
            raise ValueError(f"{self.owner}: the plan has {len(grid)} axes, the image has size {list(size)}")
        if any(-(-s // g) != scale * -(-(s // scale) // g) for s, g in zip(size, grid, strict=True)):
            raise ValueError(
                f"{self.owner}: {list(grid)} tiles of an image of size {list(size)} do not have whole voxels at "
                f"1/{scale} of its size; expected tiles with sides that are multiples of {scale}: use another root, "
                f"fewer adaptive levels, or an image with sides that are multiples of {[scale * g for g in grid]}"
            )
