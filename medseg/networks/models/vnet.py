"""V-Net of 2016, after the paper: residual stages of 5^3 convolutions, strided convolutions instead of poolings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from torch import Tensor, nn

from medseg.layers import PatchIndex
from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.layers.quadtree_conv import AnyPlan
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.planned import run
from medseg.networks.parts.plug_in import PLAIN, PlugIn
from medseg.networks.registry import register

__all__ = ["VNet"]

DOWN_CONVS, UP_CONVS = (1, 2, 3, 3, 3), (1, 2, 3, 3)
"""Numbers of convolutions in the stages of both paths, finest first."""


class Stage(nn.Module):
    """``act(f(x) + x)``, where f is a sequence of convolutions of side 5 with activations between them.

    If x has fewer channels than f(x), its channels are repeated.
    """

    takes_plan = True

    def __init__(
        self, plug: PlugIn, level: int, channels: int, width: int, convs: int, act: Named, norm: Named | None
    ) -> None:
        super().__init__()
        before = [channels, *[width] * (convs - 1)]
        self.width = width
        self.convs = nn.ModuleList(plug.conv(level, c, width, 5) for c in before)
        self.norms = nn.ModuleList(
            nn.Identity() if norm is None else get_norm_layer(norm, plug.spatial_dims, width) for _ in before
        )
        self.acts = nn.ModuleList(_activation(act, width) for _ in before)

    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """``[B, channels, *S]`` to ``[B, width, *S]``."""
        y = x
        for i, (conv, norm, act) in enumerate(zip(self.convs, self.norms, self.acts, strict=True)):
            y = norm(run(conv, y, plan))
            if i == len(self.convs) - 1:
                repeats = -(-self.width // x.shape[1])
                y = y + (x if repeats == 1 else torch.cat([x] * repeats, 1)[:, : self.width])
            y = act(y)
        return y


@register("vnet")
class VNet(nn.Module):
    """V-Net (Milletari, Navab and Ahmadi 2016, https://arxiv.org/abs/1606.04797), with the stages of its figure.

    The contracting path has stages of 1, 2, 3, 3, 3 convolutions with 16 to 256 channels, the expanding path stages of
    3, 3, 2, 1 convolutions with 256 to 32 channels. Each stage adds its input to the result of its last convolution.
    Convolutions of side 2 and stride 2 halve the maps and double the channels. Transposed convolutions double the maps;
    their result has as many channels as the skip that is concatenated with it. A PReLU with one slope per channel
    follows every convolution or sum. The image is repeated to get the 16 channels of the first sum.

    The number of parameters is the sum of

        side 5    125 (1*16 + 2*32^2 + 3*64^2 + 3*128^2 + 3*256^2) down, 125 (3*256^2 + 3*128^2 + 2*64^2 + 32^2) up
        side 2    8 (16*32 + 32*64 + 64*128 + 128*256) down, 8 (256*128 + 256*64 + 128*32 + 64*16) up
        head      32*2
        biases    one per output channel of each of them
        slopes    one per channel of each of them but the head

    This gives 65,175,314 with one input channel and two classes in 3-D. MONAI's VNet, which is `vnet_monai` here, is a
    different network (stages of 1, 1, 2, 3, 2 and 2, 2, 1, 1 convolutions, batch normalisation, ELU; 45,593,892
    parameters).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image, at most as many as the first level has.
        out_channels: classes; the paper's Dice loss is `medseg.losses.VNetDiceLoss`.
        channels: channels of the levels, finest first; 2 to 5 levels.
        act: activation; ``"prelu"`` has one slope per channel.
        norm: normalisation before each activation; the paper has none.
        dropout: dropout before the last convolution: a probability, MONAI's name and options, or None (the paper).
        down: how maps are halved: ``"stride"`` (as in the paper), ``"max"``, ``"sparse"``, see `PlugIn`.
        conv: type of the convolutions, ``"plain"`` or ``"quadtree"``, see `PlugIn`.

    Raises:
        ValueError: for values that do not exist or cannot be combined.

    Example:
        >>> net = VNet(3, in_channels=1, out_channels=2, channels=(4, 8))
        >>> net(torch.randn(1, 1, 16, 16, 8)).shape
        torch.Size([1, 2, 16, 16, 8])
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        act: Named = "prelu",
        norm: Named | None = None,
        dropout: Dropout = None,
        down: Named = "stride",
        conv: Named = PLAIN,
    ) -> None:
        super().__init__()
        levels = len(channels)
        if not 2 <= levels <= len(DOWN_CONVS):
            raise ValueError(f"VNet: channels has {levels} levels; expected 2 to {len(DOWN_CONVS)}")
        if not 1 <= in_channels <= channels[0]:
            raise ValueError(f"VNet: in_channels is {in_channels}; expected 1 to {channels[0]}, as the first level has")
        self.in_channels = in_channels
        plug = self.plug = PlugIn("VNet", spatial_dims, levels - 1, down, conv)
        self.encoder, self.downs = nn.ModuleList(), nn.ModuleList()
        self.decoder, self.ups = nn.ModuleList(), nn.ModuleList()
        self.down_acts = nn.ModuleList(_activation(act, width) for width in channels[1:])
        self.up_acts = nn.ModuleList(_activation(act, width) for width in channels[:-1])
        for i, width in enumerate(channels):
            self.encoder.append(Stage(plug, i, width if i else in_channels, width, DOWN_CONVS[i], act, norm))
            if i == levels - 1:
                break
            self.downs.append(plug.down(i, width, channels[i + 1]))
            below = channels[i + 1] * (1 if i == levels - 2 else 2)
            transposed = Conv["convtrans", spatial_dims](below, width, 2, stride=2)
            self.ups.append(plug.up(i, below, width, transposed))
            self.decoder.append(Stage(plug, i, 2 * width, 2 * width, UP_CONVS[i], act, norm))
        self.dropout = dropout_layer(dropout)
        self.head = Conv["conv", spatial_dims](2 * channels[0], out_channels, 1)

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The results of the stages of the contracting path, from high to low resolution."""
        self._check(x)
        return self._contract(x, self.plug.plan(x, plan))[0]

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Segments.

        Args:
            x: image ``[B, in_channels, *S]``; every side is a multiple of ``2^(levels - 1)`` (16 for five levels).
            plan: partition of the image, only for ``conv="quadtree"``. None: it is made from x.

        Returns:
            Logits ``[B, out_channels, *S]``.

        Raises:
            ValueError: for channels, sizes or plans that do not match.
        """
        self._check(x)
        plan = self.plug.plan(x, plan)
        maps, places = self._contract(x, plan)
        y = maps.pop()
        for i in reversed(range(len(self.decoder))):
            y = self.up_acts[i](self.ups[i](y, places[i]))
            y = self.decoder[i](torch.cat((maps[i], y), 1), plan)
        return self.head(self.dropout(y))

    def _check(self, x: Tensor) -> None:
        check_image("VNet", x, self.plug.spatial_dims, self.in_channels, 2 ** len(self.downs), network=self)

    def _contract(self, x: Tensor, plan: AnyPlan | None) -> tuple[list[Tensor], list[PatchIndex | None]]:
        maps, places = [self.encoder[0](x, plan)], []
        for down, act, stage in zip(self.downs, self.down_acts, self.encoder[1:], strict=True):
            x, place = down(maps[-1])
            maps.append(stage(act(x), plan))
            places.append(place)
        return maps, places


def _activation(act: Named, channels: int) -> nn.Module:
    return get_act_layer(("prelu", {"num_parameters": channels}) if act == "prelu" else act)
