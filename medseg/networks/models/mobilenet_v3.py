"""MobileNetV3, large and small: hard swish, squeeze and excitation, and a cheaper head."""

from __future__ import annotations

from functools import partial

from torch import nn

from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.networks.parts.conv_norm_act import activation
from medseg.networks.parts.mobilenet_blocks import BlockRow, round_width
from medseg.networks.parts.mobilenet_body import MobileNet
from medseg.networks.registry import register

__all__ = ["MobileNetV3", "mobilenet_v3_large", "mobilenet_v3_small"]

RE, HS = False, True
# (kernel, expanded, out, squeeze and excite, hard swish, stride): tables 1 and 2 of the paper.
LARGE = (
    (3, 16, 16, False, RE, 1),
    (3, 64, 24, False, RE, 2),
    (3, 72, 24, False, RE, 1),
    (5, 72, 40, True, RE, 2),
    (5, 120, 40, True, RE, 1),
    (5, 120, 40, True, RE, 1),
    (3, 240, 80, False, HS, 2),
    (3, 200, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 480, 112, True, HS, 1),
    (3, 672, 112, True, HS, 1),
    (5, 672, 160, True, HS, 2),
    (5, 960, 160, True, HS, 1),
    (5, 960, 160, True, HS, 1),
)
SMALL = (
    (3, 16, 16, True, RE, 2),
    (3, 72, 24, False, RE, 2),
    (3, 88, 24, False, RE, 1),
    (5, 96, 40, True, HS, 2),
    (5, 240, 40, True, HS, 1),
    (5, 240, 40, True, HS, 1),
    (5, 120, 48, True, HS, 1),
    (5, 144, 48, True, HS, 1),
    (5, 288, 96, True, HS, 2),
    (5, 576, 96, True, HS, 1),
    (5, 576, 96, True, HS, 1),
)
HIDDEN = {"large": 1280, "small": 1024}


class MobileNetV3(MobileNet):
    """MobileNetV3 (Howard et al. 2019, arXiv 1905.02244), 2-D and 3-D.

    Args:
        size: ``"large"`` or ``"small"``.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes. None: only an encoder.
        alpha: width multiplier; channels are rounded to multiples of 8.
        rho: resolution multiplier, see `MobileNet`.
        act: activation that replaces hard swish; the other blocks have ReLU, as in the paper.
        norm: normalisation, as MONAI names it.
        dropout: dropout before the last layer: its probability, or MONAI's name.
        output_stride: 32, 16 or 8, see `MobileNet`.
        reduced_tail: whether to halve the channels of the last stage, as the paper does for segmentation.
        down: how maps are halved, see `PlugIn`.
        conv: type of the projections, see `PlugIn`.

    Raises:
        ValueError: for an unknown size, and for numbers out of range.

    Example:
        >>> net = MobileNetV3("small", 2, in_channels=1, out_channels=5, alpha=0.25).eval()
        >>> net(torch.randn(2, 1, 64, 64)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        size: str,
        spatial_dims: int,
        in_channels: int,
        out_channels: int | None,
        alpha: float = 1.0,
        rho: float = 1.0,
        act: Named = "hardswish",
        norm: Named = ("batch", {"eps": 1e-3, "momentum": 0.01}),
        dropout: Dropout = 0.2,
        output_stride: int = 32,
        reduced_tail: bool = False,
        down: Named = "stride",
        conv: Named = "plain",
    ) -> None:
        if size not in HIDDEN:
            raise ValueError(f"MobileNetV3: size is {size!r}; expected 'large' or 'small'")
        rows, stem = _rows(size, alpha, reduced_tail, act), BlockRow(round_width(16 * alpha), 2, act=act)
        last = 6 * rows[-1].out
        super().__init__(spatial_dims, in_channels, stem, rows, last, norm, rho, output_stride, down, conv)
        head = None
        if out_channels is not None:
            hidden = round_width(HIDDEN[size] // (2 if reduced_tail else 1) * alpha)
            first = [nn.Linear(last, hidden), activation(act)]
            head = nn.Sequential(*first, dropout_layer(dropout), nn.Linear(hidden, out_channels))
        self.start(head)


def _rows(size: str, alpha: float, reduced_tail: bool, act: Named) -> list[BlockRow]:
    """The scaled rows of the paper; a reduced tail halves the channels from the last halving on."""
    table = LARGE if size == "large" else SMALL
    tail = max(i for i, row in enumerate(table) if row[-1] == 2)
    rows = []
    for i, (kernel, expanded, out, squeeze, hard, stride) in enumerate(table):
        if reduced_tail and i >= tail:
            out, expanded = out // 2, expanded if i == tail else expanded // 2
        wide = round_width(expanded * alpha)
        rows.append(BlockRow(round_width(out * alpha), stride, kernel, wide, squeeze, act if hard else "relu"))
    return rows


mobilenet_v3_large = register("mobilenet_v3_large")(partial(MobileNetV3, "large"))
mobilenet_v3_small = register("mobilenet_v3_small")(partial(MobileNetV3, "small"))
