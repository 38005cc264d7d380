"""MONAI's convolution factory knows the adaptive convolution by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.layers.factories import Conv

import medseg.layers


@pytest.mark.parametrize("dims", [2, 3])
def test_builds_the_layer_from_the_arguments_of_a_convolution(dims: int) -> None:
    layer = Conv["quadtree", dims](4, 6, kernel_size=3, stride=1, padding=1, bias=False, rounds=1, root=2)
    assert isinstance(layer, medseg.layers.QuadtreeConv)
    assert layer.bias is None and layer.root_kernel == 1
    size = (16,) * dims
    assert layer(torch.randn(1, 4, *size)).shape == (1, 6, *size)


def test_needs_no_root_kernel_where_the_channels_agree() -> None:
    assert Conv["QUADTREE", 2](4, 4, kernel_size=(5, 5), padding="same").root_conv is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 2}, r"Conv\['quadtree', 2\]: stride is 2; expected 1"),
        ({"padding": 0}, "padding is 0; expected 1"),
        ({"groups": 2}, "groups is 2; expected 1"),
        ({"dilation": (2, 2)}, "dilation is 2; expected 1"),
        ({"kernel_size": (3, 1)}, "kernel_size is .3, 1.; expected the same along every axis"),
    ],
)
def test_says_which_convolutions_it_cannot_stand_for(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Conv["quadtree", 2](4, 4, **options)
