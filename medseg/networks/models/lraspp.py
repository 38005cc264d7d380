"""LR-ASPP: the lightweight segmentation decoder of the MobileNetV3 paper."""

from __future__ import annotations

from typing import Any, cast

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from medseg.layers.named import Dropout, Named, dropout_layer, split_named
from medseg.layers.quadtree_conv import AnyPlan
from medseg.layers.start_weights import start_weights
from medseg.networks.parts.conv_norm_act import conv_norm_act
from medseg.networks.parts.image_check import takes_images
from medseg.networks.parts.mobilenet_body import MobileNet
from medseg.networks.parts.undo_halvings import undo_halvings
from medseg.networks.registry import create, list_networks, register

__all__ = ["LRASPP", "mobilenet_encoder"]

LOW = 3
"""Level of the low-level features: 1/8 of the resolution."""


@register("lraspp")
class LRASPP(nn.Module):
    """Lite reduced atrous spatial pyramid pooling (Howard et al. 2019, arXiv 1905.02244) on a MobileNet, 2-D and 3-D.

    A convolution of side 1 is applied to the deepest map, and its channels are scaled by a gate that is computed from
    the mean of the map (the whole map; the paper pools windows of 49 x 49). The result is upsampled to 1/8 of the
    resolution and added to the first map of that level.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        encoder: name of a MobileNet in the registry, or a pair of the name and arguments.
        inter_channels: channels of the decoder.
        alpha: width multiplier of the encoder.
        rho: resolution multiplier of the encoder.
        output_stride: total stride of the deepest map: 16 or 32.
        act: activation of the decoder.
        norm: normalisation of the decoder.
        dropout: dropout before the last convolution of the deep branch: its probability, or MONAI's name.
        down: how maps are halved, see `PlugIn`. Patches that a sparse halving moved are put back before the decoder
            interpolates.
        conv: type of the projections of the encoder, see `PlugIn`.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> net = LRASPP(2, in_channels=1, out_channels=3, encoder="mobilenet_v3_small", alpha=0.25).eval()
        >>> net(torch.randn(1, 1, 64, 48)).shape
        torch.Size([1, 3, 64, 48])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        encoder: Named = "mobilenet_v3_large",
        inter_channels: int = 128,
        alpha: float = 1.0,
        rho: float = 1.0,
        output_stride: int = 16,
        act: Named = "relu",
        norm: Named = "batch",
        dropout: Dropout = 0.0,
        down: Named = "stride",
        conv: Named = "plain",
    ) -> None:
        super().__init__()
        given = {"alpha": alpha, "rho": rho, "output_stride": output_stride, "down": down, "conv": conv}
        self.encoder = mobilenet_encoder("LRASPP", encoder, spatial_dims, in_channels, **given)
        if self.encoder.halvings < LOW + 1:
            raise ValueError(f"LRASPP: output_stride is {output_stride}; expected 16 or 32")
        low, high = self.encoder.first_channels[LOW - 1], self.encoder.channels[-1]
        point = Conv["conv", spatial_dims]
        deep = point(high, inter_channels, 1, bias=False)
        self.deep = conv_norm_act(deep, inter_channels, spatial_dims, norm, act)
        self.gate = nn.Sequential(point(high, inter_channels, 1, bias=False), nn.Sigmoid())
        self.dropout = dropout_layer(dropout, spatial_dims)
        self.low_classifier = point(low, out_channels, 1)
        self.high_classifier = point(inter_channels, out_channels, 1)
        for module in (self.deep, self.gate, self.low_classifier, self.high_classifier):
            start_weights(module)

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Segments.

        Args:
            x: ``[B, in_channels, *S]`` of any size that the encoder accepts.
            plan: partition of the image for adaptive convolutions. None: it is made from x.

        Returns:
            Logits ``[B, out_channels, *S]``.
        """
        levels, places, _ = self.encoder.run_levels(x, plan)
        low, high = levels[LOW - 1][0], levels[-1][-1]
        y = self.deep(high) * self.gate(high.mean(tuple(range(2, x.ndim)), keepdim=True))
        fill = self.encoder.plug.fill
        y = undo_halvings(y, places[LOW:], low.shape[2:], fill)
        y = self.low_classifier(low) + self.high_classifier(self.dropout(y))
        return undo_halvings(y, places[:LOW], x.shape[2:], fill)

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The last map of every level of the encoder, from 1/2 of the resolution downwards."""
        return self.encoder.encode(x, plan)


def mobilenet_encoder(owner: str, encoder: Named, spatial_dims: int, in_channels: int, **arguments: Any) -> MobileNet:
    """A MobileNet without its classification layers.

    Args:
        owner: name of the network that uses it, for messages.
        encoder: name, or a pair of the name and arguments, which have priority over ``arguments``.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        arguments: arguments of the MobileNet.

    Raises:
        ValueError: if the name is not that of a MobileNet.
    """
    name, options = split_named(owner, "encoder", encoder)
    known = list_networks("mobilenet_v*")
    if name not in known:
        raise ValueError(f"{owner}: encoder is {name!r}; expected one of {', '.join(known)}")
    settings: dict[str, Any] = {"spatial_dims": spatial_dims, "in_channels": in_channels, "out_channels": None}
    return cast(MobileNet, create(name, **settings, **{**arguments, **options}))
