"""A U-Net on a MobileNet uses the map of every level and returns patches to their places."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medseg.layers import QuadtreeConv, SparseUpsample
from medseg.networks import MobileNetUNet, create

TINY: dict[str, Any] = {"alpha": 0.25, "channels": (4, 4, 6, 6, 8)}


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small"])
@pytest.mark.parametrize("dims", [2, 3])
def test_segments_with_every_encoder(name: str, dims: int) -> None:
    net = MobileNetUNet(dims, 1, 3, encoder=name, **TINY).eval()
    assert net(torch.randn(1, 1, *(64,) * 2, *(32,) * (dims - 2))).shape == (1, 3, *(64,) * 2, *(32,) * (dims - 2))


def test_every_level_reaches_the_result() -> None:
    net = MobileNetUNet(2, 1, 2, **TINY).eval()
    seen: list[int] = []
    for level, block in enumerate(net.blocks):
        block.register_forward_pre_hook(lambda _, args, level=level: seen.append(args[0].shape[1]))
    net(torch.randn(1, 1, 64, 64))
    beside = [0, *net.encoder.channels[:-1]]
    assert seen == [w + b for w, b in zip(TINY["channels"], beside, strict=True)][::-1]


def test_a_sparse_halving_is_undone_at_its_level() -> None:
    net = MobileNetUNet(2, 1, 2, down="max-max-sd-sd-max", **TINY)
    assert [isinstance(up.put_back, SparseUpsample) for up in net.ups] == [False, False, True, True, False]
    net(torch.randn(2, 1, 64, 64)).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_encoder_and_decoder_share_the_partition() -> None:
    conv = ("quadtree", {"rounds": 1, "root": 2, "levels": 3})
    net = MobileNetUNet(2, 1, 2, conv=conv, **TINY)
    adaptive = [m for m in net.blocks.modules() if isinstance(m, QuadtreeConv)]
    assert len(adaptive) == 6 and all(m.kernel_size == 3 for m in adaptive)
    net(torch.randn(2, 1, 64, 64)).square().mean().backward()
    assert all(m.weight.grad is not None for m in adaptive)


def test_a_lower_resolution_inside_gives_the_image_size_outside() -> None:
    net = MobileNetUNet(2, 1, 2, rho=0.5, **TINY).eval()
    assert net(torch.randn(1, 1, 70, 90)).shape == (1, 2, 70, 90)


def test_says_what_it_expects() -> None:
    with pytest.raises(ValueError, match=r"MobileNetUNet: image of size \[64, 40\]; expected multiples of 32"):
        MobileNetUNet(2, 1, 2, **TINY)(torch.zeros(1, 1, 64, 40))
    with pytest.raises(
        ValueError, match=r"channels is \(4, 8\); expected 5 numbers, one for each halving of the encoder"
    ):
        MobileNetUNet(2, 1, 2, channels=(4, 8))
    with pytest.raises(ValueError, match="encoder is 'lidc_cnn'; expected one of mobilenet_v1, mobilenet_v2"):
        create("mobilenet_unet", spatial_dims=2, in_channels=1, out_channels=2, encoder="lidc_cnn")
