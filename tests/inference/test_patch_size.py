"""Sizes of patches that a network cannot take are refused before it runs, with sizes that it can."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from monai.networks import nets
from monai.networks.nets import UNet
from torch import nn

from medseg.inference.patch_size import check_roi_size, size_multiple
from medseg.io.bounded.errors import DataError
from medseg.networks import SliceBySlice, list_networks
from tests.networks._cases import image, small


def unet(strides: tuple[Any, ...] = (2, 2, 2, 2), norm: str = "INSTANCE", dims: int = 3) -> UNet:
    channels = (2,) * (len(strides) + 1)
    return UNet(dims, 1, 2, channels=channels, strides=strides, norm=norm).eval()


@pytest.mark.parametrize(
    ("strides", "dims", "expected"),
    [((2, 2, 2, 2), 3, (16, 16, 16)), ((2, (2, 2, 1)), 3, (4, 4, 2)), ((3, 2), 2, (6, 6)), ((1, 2), 2, (2, 2))],
)
def test_the_multiple_is_the_product_of_the_strides_along_each_axis(
    strides: tuple[Any, ...], dims: int, expected: tuple[int, ...]
) -> None:
    assert size_multiple(unet(strides, dims=dims)) == expected


def test_what_is_accepted_runs_and_what_is_refused_does_not() -> None:
    network = unet((2, 2))
    for size in ([8, 4, 4], [4, 4, 4], [6, 8, 8], [8, 8, 5], [12, 8, 4], [2, 8, 8]):
        try:
            check_roi_size(size, network)
            accepted = True
        except ValueError:
            accepted = False
        try:
            network(torch.zeros(1, 1, *size))
            runs = True
        except (RuntimeError, ValueError):
            runs = False
        assert accepted == runs, size


@pytest.mark.parametrize(
    ("size", "near"),
    [
        ([200, 200, 160], "[192, 192, 160] or [208, 208, 160]"),
        ([8, 32, 32], "[16, 32, 32]"),
        ([32, 33, 32], "[32, 32, 32] or [32, 48, 32]"),
    ],
)
def test_the_refusal_is_one_line_with_the_multiple_and_sizes_that_fit(size: list[int], near: str) -> None:
    expected = f"roi_size is {size}; expected multiples of [16, 16, 16] (the product of the network's strides), such as"
    with pytest.raises(ValueError, match=re.escape(f"{expected} {near}") + "$"):
        check_roi_size(size, unet())
    for fitting in near.split(" or "):
        check_roi_size([int(side) for side in fitting.strip("[]").split(",")], unet())


def test_a_single_voxel_at_the_lowest_level_is_refused_only_where_normalisation_needs_more() -> None:
    with pytest.raises(ValueError, match=r"roi_size is \[16, 16, 16\]: a single voxel .* use at least \[32, 16, 16\]"):
        check_roi_size([16, 16, 16], unet())
    check_roi_size([32, 16, 16], unet())
    check_roi_size([16, 16, 16], unet(norm="BATCH"))


@pytest.mark.parametrize(
    "size", [[32, 32], [32, 32, 32, 32], [0, 32, 32], [-1, -1, -1], [32.0, 32, 32], [None] * 3, 32]
)
def test_anything_but_one_whole_number_for_each_axis_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=r"expected 3 whole numbers above 0, one for each axis"):
        check_roi_size(size, unet())


@pytest.mark.parametrize("name", list_networks())
def test_the_multiple_of_every_registered_network_is_known_and_true(name: str) -> None:
    net = small(name).eval()
    multiple = size_multiple(net)
    assert multiple is not None
    factor = 2 * max(1, 64 // multiple[0])
    runs = net(image(name, side=(factor + 1) * multiple[0]))
    assert runs.isfinite().all()
    if multiple[0] > 1:
        with pytest.raises(ValueError, match=r"multiples? of"):
            net(image(name, side=(factor + 1) * multiple[0] // 2))


def test_the_network_is_left_as_it_is() -> None:
    net = small("vnet").train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    size_multiple(net)
    assert net.training and all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert {value.device.type for value in net.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: nets.VNet(out_channels=2), (16, 16, 16)),
        (
            lambda: nets.SegResNet(spatial_dims=3, in_channels=1, init_filters=4, norm=("GROUP", {"num_groups": 2})),
            (8,) * 3,
        ),
        (lambda: nets.BasicUNet(spatial_dims=2, features=(4, 4, 4, 4, 4, 4)), (1, 1)),
        (lambda: nets.AttentionUnet(2, 1, 2, channels=(4, 8, 8), strides=(2, 2)), (4, 4)),
        (
            lambda: nets.DynUNet(3, 1, 2, [3] * 3, [1, 2, (2, 2, 1)], [2, (2, 2, 1)], filters=[4, 4, 4]),
            (4, 4, 2),
        ),
    ],
    ids=["VNet", "SegResNet", "BasicUNet", "AttentionUnet", "DynUNet"],
)
def test_the_multiple_of_networks_of_monai(make: Any, expected: tuple[int, ...]) -> None:
    assert size_multiple(make()) == expected


def test_a_network_of_another_rule_than_multiples_is_not_guessed() -> None:
    assert size_multiple(small("unet2015", channels=(4, 4, 4, 4, 4), padding="valid")) is None
    fixed = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 32 * 32, 2))
    assert size_multiple(fixed) is None


def test_nothing_is_refused_for_a_network_about_which_nothing_is_known() -> None:
    network = nn.Linear(3, 2)
    assert size_multiple(network) is None
    check_roi_size([7, 7, 7], network)


def test_a_network_around_another_one_has_the_multiple_of_that_one() -> None:
    guided = ("patches", {"signals": 2, "convs": (4,), "width": 4})  # its first convolution takes no image
    assert size_multiple(small("guided_unet", appearance=guided)) == (4, 4)
    assert size_multiple(SliceBySlice(small("vnet"))) == (4, 4, 1)
    assert size_multiple(SliceBySlice(small("vnet", in_channels=3), neighbours=1, axis=0)) == (1, 4, 4)


def test_a_result_of_another_size_than_the_patch_is_refused_with_both() -> None:
    with pytest.raises(DataError) as caught:
        check_roi_size([100, 100], small("unet2015", padding="valid"))
    assert str(caught.value) == (
        "roi_size is [100, 100], and the network's result has the size [60, 60]; expected one size, as labels and "
        "windows have: pad its convolutions (networks of medseg: padding='same')"
    )
    check_roi_size([100, 100], small("unet2015"))
    check_roi_size([16, 16, 5], SliceBySlice(small("vnet")))


def test_a_training_batch_with_one_value_for_each_channel_is_refused_with_a_size_that_does() -> None:
    net = small("unet3d2016")
    check_roi_size([4, 4], net)
    check_roi_size([4, 4], net, batch=2)
    with pytest.raises(
        DataError, match=r"roi_size is \[4, 4\] .* has 1 patch: .* use at least \[8, 4\], or more patches"
    ):
        check_roi_size([4, 4], net, batch=1)
    check_roi_size([8, 4], net, batch=1)
    assert net(torch.zeros(1, 1, 8, 4)).shape == (1, 3, 8, 4)
    pooled = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(2), nn.Upsample((8, 8)))
    with pytest.raises(DataError, match=r"use more patches in a batch"):
        check_roi_size([8, 8], pooled, batch=1)
