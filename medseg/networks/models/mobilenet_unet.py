"""A U-Net with a MobileNet as contracting path."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.layers.quadtree_conv import AnyPlan
from medseg.networks.models.lraspp import mobilenet_encoder
from medseg.networks.parts.conv_norm_act import conv_norm_act
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.planned import PlannedSequential, run
from medseg.networks.registry import register

__all__ = ["MobileNetUNet"]


@register("mobilenet_unet")
class MobileNetUNet(nn.Module):
    """The expanding path of a U-Net (Ronneberger et al. 2015) after a MobileNet, 2-D and 3-D.

    Every level has an up-convolution of side 2, the concatenation with the last map of that level of the encoder, and
    two convolutions of side 3. At full resolution the encoder has no map, so nothing is concatenated.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        encoder: name of a MobileNet in the registry, or a pair of the name and arguments.
        channels: channels of the decoder, finest level first: one number for each halving of the encoder.
        alpha: width multiplier of the encoder.
        rho: resolution multiplier of the encoder; the logits are interpolated back to the image.
        act: activation of the decoder.
        norm: normalisation of the decoder.
        dropout: dropout after the deepest map: its probability, or MONAI's name.
        down: how maps are halved, see `PlugIn`; `SparseUpsample` undoes a sparse halving at its level.
        conv: type of the projections of the encoder and of the convolutions of the decoder, see `PlugIn`.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> net = MobileNetUNet(2, in_channels=1, out_channels=3, channels=(4, 4, 8, 8, 8), alpha=0.25).eval()
        >>> net(torch.randn(1, 1, 64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        encoder: Named = "mobilenet_v2",
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        alpha: float = 1.0,
        rho: float = 1.0,
        act: Named = "relu",
        norm: Named = "batch",
        dropout: Dropout = 0.0,
        down: Named = "stride",
        conv: Named = "plain",
    ) -> None:
        super().__init__()
        given = {"alpha": alpha, "rho": rho, "down": down, "conv": conv}
        self.encoder = mobilenet_encoder("MobileNetUNet", encoder, spatial_dims, in_channels, **given)
        plug, beside = self.encoder.plug, [0, *self.encoder.channels]
        if len(channels) != self.encoder.halvings:
            raise ValueError(
                f"MobileNetUNet: channels is {tuple(channels)}; expected {self.encoder.halvings} numbers, one for each "
                "halving of the encoder"
            )
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.dropout = dropout_layer(dropout, spatial_dims)
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(channels):
            before = channels[level + 1] if level + 1 < len(channels) else beside[-1]
            own = Conv["convtrans", spatial_dims](before, width, 2, stride=2)
            self.ups.append(plug.up(level, before, width, own))
            layers = []
            for inside in (width + beside[level], width):
                layer = plug.conv(level, inside, width, 3, bias=False)
                layers.append(conv_norm_act(layer, width, spatial_dims, norm, act))
            self.blocks.append(PlannedSequential(*layers))
        self.head = Conv["conv", spatial_dims](channels[0], out_channels, 1)

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Segments.

        Args:
            x: ``[B, in_channels, *S]``; every side is a multiple of 32 (for rho < 1, of any size).
            plan: partition of the image for adaptive convolutions. None: it is made from x.

        Returns:
            Logits ``[B, out_channels, *S]``.

        Raises:
            ValueError: for a size that cannot be halved that often.
        """
        size, step = x.shape[2:], 2**self.encoder.halvings
        whole = step if self.encoder.rho == 1 else 1
        check_image("MobileNetUNet", x, self.spatial_dims, self.in_channels, whole, network=self)
        levels, places, plan = self.encoder.run_levels(x, plan)
        y = self.dropout(levels[-1][-1])
        for level in reversed(range(len(levels))):
            y = self.ups[level](y, places[level])
            if level:
                y = torch.cat([levels[level - 1][-1], y], 1)
            y = run(self.blocks[level], y, plan)
        y = self.head(y)
        if y.shape[2:] == size:
            return y
        mode = "bilinear" if self.spatial_dims == 2 else "trilinear"
        return F.interpolate(y, size=size, mode=mode, align_corners=False)

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The last map of every level of the encoder, from 1/2 of the resolution downwards."""
        return self.encoder.encode(x, plan)
