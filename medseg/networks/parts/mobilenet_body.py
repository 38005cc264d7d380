"""Common body of the three MobileNets: stem, blocks, features of every level, resolution multiplier, classification."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.layers import PatchIndex
from medseg.layers.named import Named
from medseg.layers.quadtree_conv import AnyPlan
from medseg.layers.start_weights import start_weights
from medseg.networks.parts.conv_norm_act import conv_norm_act
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.mobilenet_blocks import BlockRow, DepthwiseConv, MobileBlock
from medseg.networks.parts.plug_in import PlugIn

__all__ = ["MobileNet"]


class MobileNet(nn.Module):
    """A MobileNet from the rows of the table in its paper: `MobileNetV1`, `MobileNetV2`, `MobileNetV3`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        stem: the first convolution, which is a full one and halves the map.
        rows: settings of the blocks.
        last: channels of a convolution of side 1 after the blocks, or None.
        norm: normalisation.
        rho: resolution multiplier in (0, 1]: the image is first reduced to ``rho`` times its size by averaging; sides
            are rounded to multiples of the total stride.
        output_stride: 32, 16 or 8; further halvings are replaced by dilation.
        down: how maps are halved, see `PlugIn`; ``"stride"`` as in the papers.
        conv: type of the projections, see `PlugIn`.

    Attributes:
        channels: channels of the maps that `encode` returns.
        first_channels: channels of the first map of every level.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> net = MobileNetV1(2, in_channels=1, out_channels=None, alpha=0.25, output_stride=8).eval()
        >>> isinstance(net, MobileNet), [list(maps.shape[2:]) for maps in net.encode(torch.randn(1, 1, 64, 64))]
        (True, [[32, 32], [16, 16], [8, 8]])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        stem: BlockRow,
        rows: Sequence[BlockRow],
        last: int | None,
        norm: Named,
        rho: float,
        output_stride: int,
        down: Named,
        conv: Named,
    ) -> None:
        super().__init__()
        self.owner = type(self).__name__
        if not 0 < rho <= 1:
            raise ValueError(f"{self.owner}: rho is {rho}; expected a share of the resolution above 0, up to 1")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"{self.owner}: output_stride is {output_stride}; expected 8, 16 or 32")
        self.spatial_dims, self.in_channels, self.rho = spatial_dims, in_channels, rho
        self.halvings = output_stride.bit_length() - 1
        plug = self.plug = PlugIn(self.owner, spatial_dims, self.halvings, down, conv)
        self.stem = DepthwiseConv(plug, stem.out, stem, norm, 0, stem=in_channels)
        self.blocks = nn.ModuleList()
        self.channels, self.first_channels = [stem.out], [stem.out]
        level, dilation, width = 1, 1, stem.out
        for row in rows:
            halves, residual = row.stride == 2, row.stride == 1
            if halves and level == self.halvings:
                row, halves, dilation = row._replace(stride=1), False, 2 * dilation
            self.blocks.append(MobileBlock(plug, width, row, norm, level, dilation, residual))
            width = row.out
            if halves:
                level += 1
                self.channels.append(width)
                self.first_channels.append(width)
            self.channels[-1] = width
        self.last = None
        if last is not None:
            point = Conv["conv", spatial_dims](width, last, 1, bias=False)
            self.last = conv_norm_act(point, last, spatial_dims, norm, rows[-1].act)
            self.channels[-1] = last
        self.head: nn.Module | None = None

    def start(self, head: nn.Module | None) -> None:
        """Completes the network with its classification layers and draws all weights."""
        self.head = head
        start_weights(self)

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Classifies.

        Args:
            x: ``[B, in_channels, *S]``.
            plan: partition of the image for adaptive convolutions. None: it is made from x.

        Returns:
            Logits ``[B, out_channels]``.

        Raises:
            ValueError: for an image of another shape, or a network without classification layers.
        """
        if self.head is None:
            raise ValueError(
                f"{self.owner}: out_channels is None, so it can only encode; call encode, or set out_channels"
            )
        return self.head(self.encode(x, plan)[-1].flatten(2).mean(2))

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The last map of every level, 1/2 of the resolution first, ``channels`` wide."""
        return [maps[-1] for maps in self.run_levels(x, plan)[0]]

    def run_levels(
        self, x: Tensor, plan: AnyPlan | None = None
    ) -> tuple[list[list[Tensor]], list[PatchIndex | None], AnyPlan | None]:
        """First and last map of every level (one if they are the same), where halvings moved patches, and the plan."""
        check_image(self.owner, x, self.spatial_dims, self.in_channels, network=self)
        x = self.resized(x)
        self._check(x)
        plan = self.plug.plan(x, plan)
        x, place = self.stem(x)
        levels, places = [[x]], [place]
        for block in self.blocks:
            x, place = block(x, plan)
            if block.level > len(levels):
                levels.append([x])
                places.append(place)
            else:
                levels[-1][1:] = [x]  # the maps between the first and the last are not kept in memory
        if self.last is not None:
            levels[-1][1:] = [self.last(x)]
        return levels, places, plan

    def resized(self, x: Tensor) -> Tensor:
        """The image at ``rho`` times its resolution, computed by averaging over areas."""
        if self.rho == 1:
            return x
        step = 2**self.halvings
        size = [max(step, round(s * self.rho / step) * step) for s in x.shape[2:]]
        return F.interpolate(x, size=size, mode="area")

    def _check(self, x: Tensor) -> None:
        step, kinds = 2**self.halvings, set(self.plug.kinds)
        check_image(self.owner, x, self.spatial_dims, self.in_channels, step if "sparse" in kinds else 1)
        if kinds != {"stride"} and min(x.shape[2:]) < step:
            raise ValueError(
                f"{self.owner}: image of size {list(x.shape[2:])}; expected at least {step} along each axis"
            )
