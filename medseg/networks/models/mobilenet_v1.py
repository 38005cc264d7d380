"""MobileNetV1: a stack of depthwise separable convolutions."""

from __future__ import annotations

from torch import nn

from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.networks.parts.mobilenet_blocks import BlockRow
from medseg.networks.parts.mobilenet_body import MobileNet
from medseg.networks.registry import register

__all__ = ["MobileNetV1"]

# (channels, stride) of the blocks: table 1 of the paper.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


@register("mobilenet_v1")
class MobileNetV1(MobileNet):
    """MobileNetV1 (Howard et al. 2017, arXiv 1704.04861), 2-D and 3-D.

    A convolution of side D with N output channels is replaced by a depthwise and a pointwise convolution, which have
    1 / N + 1 / D^d of its multiply-adds (d axes).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes. None: only an encoder.
        alpha: width multiplier: share of the channels that every layer has, at least 8 channels.
        rho: resolution multiplier, see `MobileNet`.
        act: activation, as MONAI names it.
        norm: normalisation, as MONAI names it.
        dropout: dropout before the last layer: its probability, or MONAI's name.
        output_stride: 32, 16 or 8, see `MobileNet`.
        down: how maps are halved, see `PlugIn`.
        conv: type of the pointwise convolutions, see `PlugIn`.

    Example:
        >>> net = MobileNetV1(2, in_channels=1, out_channels=5, alpha=0.25).eval()
        >>> net(torch.randn(2, 1, 64, 64)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int | None,
        alpha: float = 1.0,
        rho: float = 1.0,
        act: Named = "relu",
        norm: Named = "batch",
        dropout: Dropout = 0.001,
        output_stride: int = 32,
        down: Named = "stride",
        conv: Named = "plain",
    ) -> None:
        rows = [BlockRow(max(8, int(c * alpha)), stride, act=act) for c, stride in ((32, 2), *BLOCKS)]
        super().__init__(spatial_dims, in_channels, rows[0], rows[1:], None, norm, rho, output_stride, down, conv)
        head = None
        if out_channels is not None:
            head = nn.Sequential(dropout_layer(dropout), nn.Linear(rows[-1].out, out_channels))
        self.start(head)
