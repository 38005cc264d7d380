"""A U-Net with adaptive convolutions on one partition of the image: more work in regions where the image varies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn

from medseg.layers import DenseConvRounds, QuadtreeConv
from medseg.layers.conv_rounds import ConvRounds, Named
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.planned import run
from medseg.networks.parts.shared_plan import SharedPlan
from medseg.networks.registry import register
from medseg.partition import BlockPlan, PlanSettings, Quadtree

__all__ = ["AdaptiveUNet"]


@register(
    "adaptive_unet",
    without={
        "down": "it needs max pooling, so that tiles keep whole voxels; 'unet2015' takes it, also with conv='quadtree'",
        "conv": "its convolutions are always adaptive; set rounds, budget, evaluator, or dense_equal=True",
    },
)
class AdaptiveUNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with adaptive convolutions, and skip connections that add (as in LinkNet 2017).

    Every block is a `QuadtreeConv`: a cheap root kernel on the whole map, then ``rounds`` convolutions inside nested
    blocks. One plan is made from the image and used by the blocks of all adaptive levels; a tile covers the same region
    at each of them. The lower levels, where maps are small, have dense convolutions.

        image -> block -----------------------+-> block -> 1x1 -> logits
                 max pool -> block ------+-> block -> up
                             max pool -> block -> up

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        channels: channels of the levels, finest first.
        rounds: number of convolutions of a block.
        adaptive_levels: number of levels with adaptive blocks, finest first; None: all but the lowest.
        budget: share of the blocks of the image that is kept in each round. None: see `PlanSettings`.
        threshold: blocks with a variation above this number are kept, instead of or in addition to a budget.
        root: root blocks along each axis. None: as many as give tiles of 8 voxels at the lowest adaptive level, at
            least 2.
        evaluator: ``"gradient"``, ``"variance"``, ``"range"``, ``"entropy"`` or ``"random"``.
        reduce: ``"max"`` or ``"mean"`` of the variation in a block. The mean responds to texture: with a guide that is
            constant outside of the target's tissue (a narrow HU window), it selects an organ instead of sharp edges.
        mode: ``"sum"``, ``"replace"`` or ``"parallel"``, see `QuadtreeConv`.
        act: activation after each round.
        norm: normalisation after each round, over active positions.
        dense_equal: build the dense equivalent instead: the same convolutions and parameters, on the whole map.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> net = AdaptiveUNet(2, in_channels=1, out_channels=2, channels=(4, 8, 16), rounds=2)
        >>> x = torch.randn(1, 1, 64, 64)
        >>> net(x).shape
        torch.Size([1, 2, 64, 64])
        >>> net.macs((64, 64), net.plan(x)) < net.macs((64, 64))
        True
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        rounds: int = 3,
        adaptive_levels: int | None = None,
        budget: Sequence[float] | None = None,
        threshold: float | Sequence[float] | None = None,
        root: int | None = None,
        evaluator: str = "gradient",
        reduce: str = "max",
        mode: str = "sum",
        act: Named = "relu",
        norm: Named = "batch",
        dense_equal: bool = False,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"AdaptiveUNet: spatial_dims is {spatial_dims}; expected 2 or 3")
        levels = len(channels)
        adaptive = levels - 1 if adaptive_levels is None else adaptive_levels
        if levels < 2 or not 0 <= adaptive <= levels:
            raise ValueError(
                f"AdaptiveUNet: {levels} levels, {adaptive} of them adaptive; expected at least 2, at most all of them"
            )
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.adaptive_levels = 0 if dense_equal else adaptive
        settings = PlanSettings(
            rounds=rounds,
            root=root,
            budget=budget,  # type: ignore[arg-type]
            threshold=threshold,  # type: ignore[arg-type]
            metric=evaluator,
            reduce=reduce,
        )
        self.shared = SharedPlan("AdaptiveUNet", settings, self.adaptive_levels)
        shared: dict[str, Any] = {"rounds": rounds, "mode": mode, "act": act, "norm": norm}
        conv, pool = Conv["CONV", spatial_dims], Pool["MAX", spatial_dims]
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(channels):
            block = QuadtreeConv if level < self.adaptive_levels else DenseConvRounds
            before = channels[level - 1] if level else in_channels
            self.encoder.append(block(spatial_dims, before, width, root_kernel=1 if level else 3, **shared))
            if level < levels - 1:
                self.decoder.append(block(spatial_dims, width, width, **shared))
        self.down = nn.ModuleList(pool(2) for _ in channels[1:])
        # The projection is before the upsampling: the same function at a quarter (in 3-D an eighth) of the cost.
        self.up = nn.ModuleList(
            nn.Sequential(conv(low, high, 1), nn.Upsample(scale_factor=2)) for high, low in pairwise(channels)
        )
        self.head = conv(channels[0], out_channels, 1)

    def plan(self, guide: Tensor) -> BlockPlan:
        """The plan for an image ``[B, any, *S]`` with the size of the input of the network."""
        return self.shared.make(guide)

    @takes_images
    def forward(self, x: Tensor, plan: BlockPlan | Quadtree | None = None, guide: Tensor | None = None) -> Tensor:
        """Segments.

        Args:
            x: ``[B, in_channels, *S]``; every side is a multiple of ``2^(levels - 1)``.
            plan: partition of the image. None: it is made from ``guide``.
            guide: image ``[B, any, *S]`` from which the plan is made. None: x.

        Returns:
            Logits ``[B, out_channels, *S]``.

        Raises:
            ValueError: for sizes that cannot be halved, or a plan whose tiles do not have whole voxels.
        """
        size = tuple(x.shape[2:])
        check_image("AdaptiveUNet", x, self.spatial_dims, self.in_channels, 2 ** (len(self.encoder) - 1), network=self)
        if self.adaptive_levels:
            plan = self.plan(x if guide is None else guide) if plan is None else plan
            self.shared.check(plan, size)
        maps = []
        for level, block in enumerate(self.encoder):
            x = run(block, self.down[level - 1](x) if level else x, plan)
            maps.append(x)
        for level in reversed(range(len(self.decoder))):
            x = run(self.decoder[level], maps[level] + self.up[level](x), plan)
        return self.head(x)

    def macs(self, size: Sequence[int], plan: BlockPlan | Quadtree | None = None) -> int:
        """Multiply-adds of all convolutions on images of spatial size ``size``.

        Args:
            size: spatial size of the images.
            plan: plan of the adaptive blocks (its whole batch is counted). None: all blocks are dense, one image.
        """
        batch = 1 if plan is None else (plan if isinstance(plan, BlockPlan) else plan.plan).batch
        total = 0
        for level, block in [*enumerate(self.encoder), *enumerate(self.decoder)]:
            at = tuple(s >> level for s in size)
            if isinstance(block, QuadtreeConv) and plan is not None:
                total += block.macs(plan, at)
            elif isinstance(block, ConvRounds):
                total += batch * block.dense_macs(at)
        plain = [(self.head, 0), *((up[0], level + 1) for level, up in enumerate(self.up))]
        return total + batch * sum(c.weight.numel() * math.prod(s >> level for s in size) for c, level in plain)
