"""Global convolution equals the large kernel that its lines make up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from medseg.layers.global_conv import GlobalConv


def dense_kernel(layer: GlobalConv, in_channels: int, side: int, dims: int) -> Tensor:
    """What the layer does to a unit impulse, mirrored into a correlation kernel [out, in, *side]."""
    impulse = torch.zeros(in_channels, in_channels, *(2 * side - 1,) * dims, dtype=torch.float64)
    centre = (slice(None),) + (side - 1,) * dims
    for channel in range(in_channels):
        impulse[(channel, channel, *centre[1:])] = 1
    response = layer(impulse).transpose(0, 1)
    middle = slice(side - 1 - side // 2, side + side // 2)
    return response[(slice(None), slice(None), *(middle,) * dims)].flip(tuple(range(2, 2 + dims)))


@pytest.mark.parametrize(("dims", "side"), [(2, 7), (2, 1), (3, 3)])
def test_equals_one_convolution_with_a_large_kernel(dims: int, side: int) -> None:
    layer = GlobalConv(dims, 3, 2, side, bias=False).double()
    x = torch.randn(2, 3, *range(9, 9 + dims), dtype=torch.float64)
    conv = F.conv2d if dims == 2 else F.conv3d
    with torch.no_grad():
        torch.testing.assert_close(layer(x), conv(x, dense_kernel(layer, 3, side, dims), padding=side // 2))


def test_parameters_grow_with_the_side_of_the_kernel() -> None:
    assert sum(p.numel() for p in GlobalConv(2, 10, 4).parameters()) == 2 * (7 * 10 * 4 + 4 + 7 * 4 * 4 + 4)


def test_even_kernels_and_other_dimensions_are_named() -> None:
    with pytest.raises(ValueError, match="kernel_size is 6; expected an odd number"):
        GlobalConv(2, 1, 1, 6)
    with pytest.raises(ValueError, match="spatial_dims is 1; expected 2 or 3"):
        GlobalConv(1, 1, 1)
