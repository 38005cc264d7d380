"""A U-Net whose contracting path is a MobileNet."""

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
from medseg.networks.parts.planned import PlannedSequential, run
from medseg.networks.parts.plug_in import check_image
from medseg.networks.registry import register

__all__ = ["MobileNetUNet"]


@register("mobilenet_unet")
class MobileNetUNet(nn.Module):
    """The expanding path of a U-Net (Ronneberger et al. 2015) on a MobileNet, 2-D and 3-D.

    At every level a 2 x 2 up-convolution, the encoder's last map of that level beside it, and two convolutions of side
    3; the full resolution, where the encoder has no map, has none beside it.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        encoder: a MobileNet of the registry, or a pair of its name and arguments.
        channels: channels of the decoder, finest level first: one more than the encoder halves less the deepest.
        alpha: width multiplier of the encoder.
        rho: resolution multiplier of the encoder; the logits are interpolated back to the image.
        act: activation of the decoder.
        norm: normalisation of the decoder.
        dropout: after the deepest map, as MONAI names it or its probability.
        down: how maps are halved, see `PlugIn`; a sparse halving is undone by `SparseUpsample` at its level.
        conv: projections of the encoder and convolutions of the decoder, see `PlugIn`.

    Raises:
        ValueError: for arguments that do not fit.

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
                f"MobileNetUNet: channels {tuple(channels)} for {self.encoder.halvings} levels; "
                "expected one number each"
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

    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Segments.

        Args:
            x: ``[B, in_channels, *S]``, sides multiples of 32 (unless rho is below 1, which rounds them itself).
            plan: partition of the image for adaptive convolutions. None: made of x.

        Returns:
            Logits ``[B, out_channels, *S]``.

        Raises:
            ValueError: for a size that cannot be halved as often.
        """
        size, step = x.shape[2:], 2**self.encoder.halvings
        whole = step if self.encoder.rho == 1 else 1
        check_image("MobileNetUNet", x, self.spatial_dims, self.in_channels, whole)
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

    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The encoder's last map of every level, 1/2 of the resolution first."""
        return self.encoder.encode(x, plan)
