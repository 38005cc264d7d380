"""3-D U-Net 2016: the paper's count, its widths, its sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from medseg.layers import SparseUpsample
from medseg.networks import UNet3D2016
from tests.networks._counting import count_parameters, on_meta


def test_has_the_number_of_parameters_of_the_paper() -> None:
    net = on_meta(UNet3D2016)
    assert count_parameters(net, without=(nn.BatchNorm3d,)) == 19_069_955
    assert count_parameters(net) == 19_074_627
    assert count_parameters(on_meta(UNet3D2016, up_bias=True)) == 19_075_523


def test_doubles_the_channels_before_each_pooling_and_keeps_them_in_each_doubling() -> None:
    net = on_meta(UNet3D2016)
    widths = [[m.out_channels for m in block if isinstance(m, nn.Conv3d)] for block in net.encoder]
    assert widths == [[32, 64], [64, 128], [128, 256], [256, 512]]
    doubling = [m for m in net.modules() if isinstance(m, nn.ConvTranspose3d)]
    assert [(m.in_channels, m.out_channels) for m in doubling] == [(128, 128), (256, 256), (512, 512)]


def test_normalises_before_each_activation() -> None:
    block = on_meta(UNet3D2016).encoder[0]
    assert [type(module) for module in block] == [nn.Conv3d, nn.BatchNorm3d, nn.ReLU] * 2


def test_turns_132_by_132_by_116_into_44_by_44_by_28_without_padding() -> None:
    net = on_meta(UNet3D2016, padding="valid")
    assert net(torch.empty(1, 3, 132, 132, 116, device="meta")).shape == (1, 3, 44, 44, 28)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("down", ["max", "sparse"])
@pytest.mark.parametrize("conv", ["plain", ("quadtree", {"rounds": 1, "root": 2})])
def test_learns(dims: int, down: str, conv: Any) -> None:
    net = UNet3D2016(dims, 1, 2, channels=(4, 6, 8), norm="instance", down=down, conv=conv)
    out = net(torch.randn(1, 1, *(32,) * dims))
    assert out.shape == (1, 2, *(32,) * dims)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert any(isinstance(m, SparseUpsample) for m in net.modules()) is (down == "sparse")


def test_odd_widths_are_named() -> None:
    with pytest.raises(ValueError, match=r"channels is \[4, 7\]; expected even numbers"):
        UNet3D2016(channels=(4, 7))
