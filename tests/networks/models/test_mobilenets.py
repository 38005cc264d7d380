"""The MobileNets have their papers' parameters, multiply-adds and maps, in 2-D and 3-D."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.layers.factories import Conv
from torch import nn

from medseg.layers import QuadtreeConv, SparseDownsample
from medseg.networks import MobileNetV1, create
from medseg.networks.parts.mobilenet_blocks import BlockRow, MobileBlock, round_width
from medseg.networks.parts.plug_in import PlugIn
from tests.networks._counting import count_macs, count_parameters, on_meta
from tests.networks._torchvision_peer import shake_statistics, take_weights, torchvision_models

NAMES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")


@pytest.mark.parametrize(
    ("name", "alpha", "count", "millions"),
    [
        ("mobilenet_v1", 1.0, 4_231_976, 568.7),
        ("mobilenet_v1", 0.75, 2_585_560, 325.4),
        ("mobilenet_v1", 0.5, 1_331_592, 149.5),
        ("mobilenet_v1", 0.25, 470_072, 41.0),
        ("mobilenet_v2", 1.0, 3_504_872, 300.8),
        ("mobilenet_v3_large", 1.0, 5_483_032, 216.6),
        ("mobilenet_v3_small", 1.0, 2_542_856, 56.5),
    ],
)
def test_parameters_and_multiply_adds_are_the_published_ones(
    name: str, alpha: float, count: int, millions: float
) -> None:
    net = on_meta(lambda: create(name, spatial_dims=2, in_channels=3, out_channels=1000, alpha=alpha))
    assert count_parameters(net) == count
    assert round(count_macs(net, 1, 3, 224, 224) / 1e6, 1) == millions


def test_the_last_layer_of_v1_has_one_row_for_each_class() -> None:
    def count(classes: int | None) -> int:
        return count_parameters(on_meta(lambda: MobileNetV1(2, 3, classes)))

    assert (count(1001), count(None)) == (4_233_001, 3_206_976)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_separable_convolution_costs_its_share_of_a_full_one(dims: int, kernel: int) -> None:
    before, after, side = 6, 10, 8
    plug = PlugIn("Net", dims, 1, "stride")
    block = on_meta(lambda: MobileBlock(plug, before, BlockRow(after, 1, kernel), "batch", 0, 1, True))
    full = on_meta(lambda: Conv["conv", dims](before, after, kernel, padding=kernel // 2, bias=False))
    shape = (1, before, *(side,) * dims)
    share = count_macs(block, *shape) / count_macs(full, *shape)
    assert share == pytest.approx(1 / after + 1 / kernel**dims)


@pytest.mark.parametrize("rho", [6 / 7, 5 / 7, 4 / 7])
def test_the_resolution_multiplier_costs_its_square(rho: float) -> None:
    net, full = (on_meta(lambda r=r: MobileNetV1(2, 3, 1000, rho=r)) for r in (rho, 1.0))
    side = round(224 * rho)
    assert net.resized(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 3, side, side)
    linear = 1024 * 1000
    small, large = (count_macs(n, 1, 3, 224, 224) - linear for n in (net, full))
    assert small / large == pytest.approx(rho**2, rel=1e-9)


def test_a_lower_resolution_is_the_mean_over_areas() -> None:
    net = MobileNetV1(2, 1, None, alpha=0.25, rho=0.5)
    x = torch.randn(1, 1, 128, 128)
    torch.testing.assert_close(net.resized(x), nn.functional.avg_pool2d(x, 2))


@pytest.mark.parametrize(
    ("width", "rounded"), [(16, 16), (18, 24), (12, 16), (11.9, 16), (2, 8), (44, 48), (35, 32), (35.6, 40)]
)
def test_widths_are_multiples_of_eight_and_lose_at_most_a_tenth(width: float, rounded: int) -> None:
    assert round_width(width) == rounded


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dims", [2, 3])
def test_encodes_the_levels_from_half_to_one_thirty_second(name: str, dims: int) -> None:
    net = on_meta(lambda: create(name, spatial_dims=dims, in_channels=1, out_channels=None, alpha=0.25))
    maps = net.encode(torch.empty(1, 1, *(64,) * dims, device="meta"))
    assert [m.shape[1] for m in maps] == net.channels
    assert [tuple(m.shape[2:]) for m in maps] == [(64 // 2**i,) * dims for i in range(1, 6)]


@pytest.mark.parametrize("name", NAMES)
def test_dilation_keeps_the_resolution_that_a_halving_would_lose(name: str) -> None:
    build = {"spatial_dims": 2, "in_channels": 1, "out_channels": None}
    nets = [on_meta(lambda s=s: create(name, output_stride=s, **build)) for s in (32, 16, 8)]
    sides = [net.encode(torch.empty(1, 1, 64, 64, device="meta"))[-1].shape[2] for net in nets]
    assert sides == [2, 4, 8]
    assert len({count_parameters(net) for net in nets}) == 1


def test_the_residual_runs_only_where_stride_and_widths_allow_it() -> None:
    net = on_meta(lambda: create("mobilenet_v2", spatial_dims=2, in_channels=3, out_channels=None))
    flags = [block.residual for block in net.blocks]
    assert sum(flags) == 10 and not flags[0]
    block = MobileBlock(PlugIn("Net", 2, 1, "stride"), 4, BlockRow(4, 1, expanded=8), "batch", 0, 1, True)
    nn.init.zeros_(block.project[1].weight)
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(block(x)[0], x, rtol=0, atol=0)


@pytest.mark.parametrize("down", ["max", "sparse", "max-max-sd-sd-max"])
def test_every_stride_can_be_another_halving(down: str) -> None:
    net = create("mobilenet_v2", spatial_dims=2, in_channels=1, out_channels=3, alpha=0.25, down=down)
    assert not [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    sparse = [m for m in net.modules() if isinstance(m, SparseDownsample)]
    assert len(sparse) == {"max": 0, "sparse": 5}.get(down, 2)
    net(torch.randn(2, 1, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_projections_become_adaptive_on_one_partition() -> None:
    conv = ("quadtree", {"rounds": 1, "root": 2, "kernel_size": 3, "levels": 2})
    net = create("mobilenet_v3_small", spatial_dims=2, in_channels=1, out_channels=3, alpha=0.25, conv=conv)
    adaptive = [m for m in net.modules() if isinstance(m, QuadtreeConv)]
    assert len(adaptive) == sum(block.level < 2 for block in net.blocks) == 0
    conv[1]["levels"] = 4
    net = create("mobilenet_v3_small", spatial_dims=2, in_channels=1, out_channels=3, alpha=0.25, conv=conv)
    adaptive = [m for m in net.modules() if isinstance(m, QuadtreeConv)]
    assert len(adaptive) == sum(block.level < 4 for block in net.blocks) == 3
    net(torch.randn(2, 1, 64, 64)).sum().backward()
    assert all(m.weight.grad is not None for m in adaptive)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mobilenet_v2", {}),
        ("mobilenet_v3_large", {}),
        ("mobilenet_v3_small", {}),
        ("mobilenet_v3_large", {"reduced_tail": True}),
        ("mobilenet_v3_small", {"reduced_tail": True}),
    ],
)
def test_equals_the_network_of_torchvision(name: str, options: dict[str, Any]) -> None:
    theirs = getattr(torchvision_models(), name)(num_classes=7, **options).eval()
    ours = create(name, spatial_dims=2, in_channels=3, out_channels=7, **options).eval()
    shake_statistics(theirs)
    take_weights(ours, theirs)
    x = torch.randn(2, 3, 65, 72)
    with torch.no_grad():
        expected = theirs(x)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 0.0}, "MobileNetV1: rho is 0.0; expected a share"),
        ({"output_stride": 4}, "output_stride is 4; expected 8, 16 or 32"),
        ({"down": "4sd"}, "MobileNetV1: down '4sd' has 4 stages; expected 5"),
    ],
)
def test_settings_that_do_not_fit_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MobileNetV1(2, 1, 2, alpha=0.25, **options)


def test_images_that_do_not_fit_are_named() -> None:
    small = {"alpha": 0.25, "out_channels": 2, "spatial_dims": 2, "in_channels": 1}
    with pytest.raises(ValueError, match=r"image of size \[64, 33\]; expected multiples of 32"):
        create("mobilenet_v1", down="sparse", **small)(torch.zeros(1, 1, 64, 33))
    with pytest.raises(ValueError, match=r"image of size \[64, 16\]; expected at least 32"):
        create("mobilenet_v1", down="max", **small)(torch.zeros(1, 1, 64, 16))
    with pytest.raises(ValueError, match="out_channels is None, so it can only encode"):
        create("mobilenet_v1", **{**small, "out_channels": None})(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match="size is 'medium'; expected 'large' or 'small'"):
        from medseg.networks import MobileNetV3

        MobileNetV3("medium", 2, 1, 2)
