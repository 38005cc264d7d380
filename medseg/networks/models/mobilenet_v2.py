"""MobileNetV2: inverted residuals with linear bottlenecks."""

from __future__ import annotations

from torch import nn

from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.networks.parts.mobilenet_blocks import BlockRow, round_width
from medseg.networks.parts.mobilenet_body import MobileNet
from medseg.networks.registry import register

__all__ = ["MobileNetV2"]

# (expansion t, channels, repeats, stride of the first): table 2 of the paper.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@register("mobilenet_v2")
class MobileNetV2(MobileNet):
    """MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), 2-D and 3-D.

    A block expands its input to t times the channels, applies a depthwise convolution, and projects the result to fewer
    channels without an activation. The input is added if the stride is 1 and the numbers of channels are equal.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes. None: only an encoder.
        alpha: width multiplier; channels are rounded to multiples of 8, and the last layer never has fewer channels.
        rho: resolution multiplier, see `MobileNet`.
        act: activation, as MONAI names it.
        norm: normalisation, as MONAI names it.
        dropout: dropout before the last layer: its probability, or MONAI's name.
        output_stride: 32, 16 or 8, see `MobileNet`.
        down: how maps are halved, see `PlugIn`.
        conv: type of the projections, see `PlugIn`.

    Example:
        >>> net = MobileNetV2(2, in_channels=1, out_channels=5, alpha=0.25).eval()
        >>> net(torch.randn(2, 1, 64, 64)).shape
        torch.Size([2, 5])
        >>> [maps.shape[1] for maps in net.encode(torch.randn(2, 1, 64, 64))]
        [8, 8, 8, 24, 1280]
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int | None,
        alpha: float = 1.0,
        rho: float = 1.0,
        act: Named = "relu6",
        norm: Named = "batch",
        dropout: Dropout = 0.2,
        output_stride: int = 32,
        down: Named = "stride",
        conv: Named = "plain",
    ) -> None:
        stem = BlockRow(round_width(32 * alpha), 2, act=act)
        rows, width = [], stem.out
        for t, channels, repeats, stride in STAGES:
            for i in range(repeats):
                row = BlockRow(round_width(channels * alpha), 1 if i else stride, expanded=t * width, act=act)
                rows.append(row)
                width = row.out
        last = round_width(1280 * max(1.0, alpha))
        super().__init__(spatial_dims, in_channels, stem, rows, last, norm, rho, output_stride, down, conv)
        head = None
        if out_channels is not None:
            head = nn.Sequential(dropout_layer(dropout), nn.Linear(last, out_channels))
        self.start(head)
