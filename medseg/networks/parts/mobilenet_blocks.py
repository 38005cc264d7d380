"""Blocks of the MobileNets: depthwise separable convolution, inverted residual, squeeze and excitation."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

from medseg.layers import PatchIndex
from medseg.layers.named import Named
from medseg.layers.quadtree_conv import AnyPlan
from medseg.networks.parts.conv_norm_act import activation, conv_norm_act
from medseg.networks.parts.plug_in import PlugIn

__all__ = ["BlockRow", "DepthwiseConv", "MobileBlock", "SqueezeExcite", "round_width"]


class BlockRow(NamedTuple):
    """One row of the table of blocks in a paper.

    Attributes:
        out: channels of the result.
        stride: 1, or 2 to halve the map.
        kernel: side of the depthwise kernel.
        expanded: channels between the two convolutions of side 1; None: no expansion, i.e. a depthwise separable
            convolution with an activation at the end (V1).
        squeeze: whether squeeze and excitation follows the depthwise convolution.
        act: activation.
    """

    out: int
    stride: int = 1
    kernel: int = 3
    expanded: int | None = None
    squeeze: bool = False
    act: Named = "relu"


def round_width(channels: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to a scaled width; at least ``divisor``, and at least 0.9 of the width."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


class DepthwiseConv(nn.Module):
    """A depthwise convolution, norm and activation; stride 2 is replaced by the halving that the user chose.

    Args:
        plug: `PlugIn` of the network.
        channels: channels of input and result (with ``stem``: of the result).
        row: kernel, stride and activation.
        norm: normalisation.
        level: level of the input.
        dilation: dilation of the kernel.
        stem: if not 0, channels of the input of a full convolution, which replaces the depthwise one.
    """

    def __init__(
        self, plug: PlugIn, channels: int, row: BlockRow, norm: Named, level: int, dilation: int = 1, stem: int = 0
    ) -> None:
        super().__init__()
        before = stem or channels
        own: dict[str, Any] = {
            "kernel_size": row.kernel,
            "groups": 1 if stem else channels,
            "bias": False,
        }
        same = {**own, "padding": row.kernel // 2 * dilation, "dilation": dilation}
        conv = Conv["conv", plug.spatial_dims]
        strided = row.stride == 2 and plug.kinds[level] == "stride"
        self.down = plug.down(level, before, channels if strided else before, **own) if row.stride == 2 else None
        self.conv = None if strided else conv(before, channels, **same)
        self.norm = get_norm_layer(norm, plug.spatial_dims, channels)
        self.act = activation(row.act, inplace=bool(norm))

    def forward(self, x: Tensor) -> tuple[Tensor, PatchIndex | None]:
        """The map, and the `PatchIndex` of a sparse halving or None."""
        place = None
        if self.down is not None:
            x, place = self.down(x)
        return self.act(self.norm(x if self.conv is None else self.conv(x))), place


class SqueezeExcite(nn.Module):
    """Scales every channel by a factor in [0, 1] computed from the means of all channels.

    Squeeze and excitation (Hu et al. 2018) with the hard sigmoid of MobileNetV3 (2019).

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the map; the hidden layer has a quarter of them, rounded to a multiple of 8.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        conv, hidden = Conv["conv", spatial_dims], round_width(channels // 4)
        self.reduce, self.expand = conv(channels, hidden, 1), conv(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scales ``x [B, C, *S]``."""
        axes = tuple(range(2, x.ndim))
        gate = self.expand(torch.relu(self.reduce(x.mean(axes, keepdim=True))))
        return x * nn.functional.hardsigmoid(gate)


class MobileBlock(nn.Module):
    """A block of a MobileNet: (expand) - depthwise - (squeeze and excite) - project.

    Without an expansion it is the depthwise separable convolution of V1, with an activation after the projection. With
    an expansion it is the inverted residual of V2: the projection has no activation, and the input is added if stride
    and channels allow it.

    Args:
        plug: `PlugIn` of the network; it makes the projection, which can be adaptive.
        channels: channels of the input.
        row: settings of the block.
        norm: normalisation.
        level: level of the input.
        dilation: dilation of the depthwise kernel.
        residual: whether the input is added, as in the paper; False if the block dilates instead of halving.
    """

    takes_plan = True

    def __init__(
        self, plug: PlugIn, channels: int, row: BlockRow, norm: Named, level: int, dilation: int, residual: bool
    ) -> None:
        super().__init__()
        d, wide = plug.spatial_dims, row.expanded or channels
        separable = row.expanded is None
        self.expand = None
        if wide != channels:
            self.expand = conv_norm_act(Conv["conv", d](channels, wide, 1, bias=False), wide, d, norm, row.act)
        self.depthwise = DepthwiseConv(plug, wide, row, norm, level, dilation)
        self.squeeze = SqueezeExcite(d, wide) if row.squeeze else None
        level += row.stride == 2
        project = plug.conv(level, wide, row.out, 1, bias=False)
        self.project = conv_norm_act(project, row.out, d, norm, row.act if separable else None)
        self.residual = residual and not separable and channels == row.out
        self.level = level

    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> tuple[Tensor, PatchIndex | None]:
        """The map, and the `PatchIndex` of a sparse halving or None."""
        y, place = self.depthwise(x if self.expand is None else self.expand(x))
        y = self.project(y if self.squeeze is None else self.squeeze(y), plan)
        return (x + y if self.residual else y), place
