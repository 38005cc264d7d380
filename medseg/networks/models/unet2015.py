"""U-Net of 2015: five levels, convolutions without padding, skips by crop and copy."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.layers.named import Dropout, Named
from medseg.layers.start_weights import start_weights
from medseg.networks.parts.plug_in import PLAIN
from medseg.networks.parts.unet_body import UNetBody, UNetWidths
from medseg.networks.registry import register

__all__ = ["UNet2015"]


@register("unet2015")
class UNet2015(UNetBody):
    """U-Net (Ronneberger, Fischer and Brox 2015, https://arxiv.org/abs/1505.04597).

    It has two convolutions of side 3 per level, 64 to 1024 channels, max pooling, up-convolutions of side 2 that halve
    the channels, and dropout at the end of the contracting path. Initial weights are Gaussian with standard deviation
    sqrt(2 / N), where N is the number of values that one output sums. With two classes and one image channel it has
    31,030,658 parameters in 2-D.

    Without padding (as in the paper) an image of side 572 gives a result of side 388. Whole images are then segmented
    in overlapping tiles, without seams between them (`medseg.inference.overlap_tile`).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        channels: channels of the levels, finest first.
        padding: ``"valid"`` or ``"same"``.
        act: activation after each convolution.
        norm: normalisation before each activation; the paper has none.
        dropout: dropout after the two lowest levels: a probability, MONAI's name and options, or None.
        bias: whether convolutions of side 3 have a bias; with a normalisation it is not needed.
        down: how maps are halved: ``"max"``, ``"stride"``, ``"sparse"`` (the decoder then puts the patches back)
            or a placement such as ``"max-sd-sd-max"``, see `PlugIn`.
        conv: type of the convolutions, ``"plain"`` or ``"quadtree"``, see `PlugIn`.

    Raises:
        ValueError: for values that do not exist or cannot be combined.

    Example:
        >>> net = UNet2015(2, in_channels=1, out_channels=2, channels=(4, 8, 16))
        >>> net.output_size((60, 60))
        (20, 20)
        >>> net(torch.randn(1, 1, 60, 60)).shape
        torch.Size([1, 2, 20, 20])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        padding: str = "valid",
        act: Named = "relu",
        norm: Named | None = None,
        dropout: Dropout = 0.5,
        bias: bool = True,
        down: Named = "max",
        conv: Named = PLAIN,
    ) -> None:
        pairs = [(width, width) for width in channels]
        widths = UNetWidths(encoder=pairs, up=list(channels[:-1]), decoder=pairs[:-1])
        super().__init__(
            spatial_dims, in_channels, out_channels, widths, padding, act, norm, dropout, bias, down=down, conv=conv
        )
        start_weights(self, "fan_in", linear_std=None)
