"""3-D U-Net of 2016: the channels are doubled before each pooling; normalisation before each ReLU."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.layers.named import Dropout, Named
from medseg.networks.parts.plug_in import PLAIN
from medseg.networks.parts.unet_body import UNetBody, UNetWidths
from medseg.networks.registry import register

__all__ = ["UNet3D2016"]


@register("unet3d2016")
class UNet3D2016(UNetBody):
    """3-D U-Net (Cicek, Abdulkadir, Lienkamp, Brox and Ronneberger 2016, https://arxiv.org/abs/1606.06650).

    It has four levels. The second convolution of a level has twice the channels of the first, to avoid a bottleneck
    before the pooling. An up-convolution of side 2 keeps the number of channels; the two convolutions after it have
    the number of channels of the skip. Batch normalisation precedes every ReLU.

    With three input channels and three classes it has 19,069,955 parameters, as the paper says, if convolutions have
    biases, up-convolutions have none, and normalisations are not counted; their scales and shifts are 4,672 more.

    It can be trained from a few annotated slices with `medseg.losses.SparseAnnotationCrossEntropyLoss`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        channels: channels after the second convolution of every level, finest first; the first one of the finest level
            has half of them.
        padding: ``"same"``, or ``"valid"`` as in the paper (an image of side 132 gives a result of side 44).
        act: activation after each convolution.
        norm: normalisation before each activation, or None.
        dropout: dropout after the two lowest levels; the paper has none.
        bias: whether convolutions of side 3 have a bias.
        up_bias: whether up-convolutions have a bias.
        down: how maps are halved: ``"max"``, ``"stride"``, ``"sparse"`` (the decoder then puts the patches back)
            or a placement such as ``"max-sd-max"``, see `PlugIn`.
        conv: type of the convolutions, ``"plain"`` or ``"quadtree"``, see `PlugIn`.

    Raises:
        ValueError: for values that do not exist or cannot be combined.

    Example:
        >>> net = UNet3D2016(3, in_channels=1, out_channels=2, channels=(4, 8))
        >>> net(torch.randn(1, 1, 16, 16, 8)).shape
        torch.Size([1, 2, 16, 16, 8])
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512),
        padding: str = "same",
        act: Named = "relu",
        norm: Named | None = "batch",
        dropout: Dropout = None,
        bias: bool = True,
        up_bias: bool = False,
        down: Named = "max",
        conv: Named = PLAIN,
    ) -> None:
        if any(width % 2 for width in channels):
            raise ValueError(
                f"UNet3D2016: channels is {list(channels)}; expected even numbers, because they are halved"
            )
        widths = UNetWidths(
            encoder=[(width // 2, width) for width in channels],
            up=list(channels[1:]),
            decoder=[(width, width) for width in channels[:-1]],
        )
        super().__init__(
            spatial_dims, in_channels, out_channels, widths, padding, act, norm, dropout, bias, up_bias, down, conv
        )
