"""Parts of the decoder of the anisotropic hybrid network: projections, dense blocks, pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.networks.parts.conv_norm_act import activation
from medseg.networks.parts.resnet import extent
from medseg.networks.parts.undo_halvings import undo_halvings

__all__ = ["DenseLayer", "PyramidPooling", "norm_act_conv"]

SQUEEZE = 4
"""Channels between the first two convolutions of a dense layer, as a multiple of its growth."""


def norm_act_conv(
    spatial_dims: int, channels: int, out_channels: int, act: Named, norm: Named, kernel: Sequence[int] | int = 1
) -> nn.Sequential:
    """Normalisation, activation, then a convolution without bias that keeps the size."""
    sides = (kernel,) * spatial_dims if isinstance(kernel, int) else tuple(kernel)
    padding = tuple(side // 2 for side in sides)
    return nn.Sequential(
        get_norm_layer(norm, spatial_dims, channels),
        activation(act, inplace=bool(norm)),
        Conv["conv", spatial_dims](channels, out_channels, sides, padding=padding, bias=False),
    )


class DenseLayer(nn.Module):
    """Appends ``growth`` features that are computed in the plane and across slices.

    A convolution of side 1 is followed by a 3x3x1 convolution. A 1x1x3 convolution of the result is added to it, and a
    convolution of side 1 follows. In 2-D there is no convolution across slices.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the input.
        growth: channels that are appended.
        act: activation before each convolution.
        norm: normalisation before each activation.
        dropout: dropout of the appended features.
    """

    def __init__(
        self, spatial_dims: int, channels: int, growth: int, act: Named, norm: Named, dropout: Dropout = None
    ) -> None:
        super().__init__()
        d, inside = spatial_dims, SQUEEZE * growth
        self.squeeze = norm_act_conv(d, channels, inside, act, norm)
        self.in_plane = norm_act_conv(d, inside, growth, act, norm, extent(d, 3, 1))
        self.across = norm_act_conv(d, growth, growth, act, norm, (1, 1, 3)) if d == 3 else None
        self.last = norm_act_conv(d, growth, growth, act, norm)
        self.dropout = dropout_layer(dropout, d)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *S]`` to ``[B, channels + growth, *S]``."""
        y = self.in_plane(self.squeeze(x))
        if self.across is not None:
            y = y + self.across(y)
        return torch.cat((x, self.dropout(self.last(y))), 1)


class PyramidPooling(nn.Module):
    """Appends one channel for each window size: maxima over windows in the plane, projected and interpolated.

    The windows do not overlap and have the extent of one slice. At the far border a window contains the remaining
    voxels; a window that is larger than the map contains the whole map.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the input.
        windows: sides of the windows in voxels of the map.
    """

    def __init__(self, spatial_dims: int, channels: int, windows: Sequence[int]) -> None:
        super().__init__()
        self.spatial_dims, self.windows = spatial_dims, tuple(windows)
        self.project = nn.ModuleList(Conv["conv", spatial_dims](channels, 1, 1) for _ in self.windows)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *S]`` to ``[B, channels + number of windows, *S]``."""
        pool, size = (F.max_pool2d if self.spatial_dims == 2 else F.max_pool3d), x.shape[2:]
        maps = [x]
        for window, project in zip(self.windows, self.project, strict=True):
            sides = [min(w, s) for w, s in zip(extent(self.spatial_dims, window, 1), size, strict=True)]
            maps.append(undo_halvings(project(pool(x, sides, ceil_mode=True)), (), size))
        return torch.cat(maps, 1)
