"""The registry builds networks by name; a wrong name is answered with the nearest that exists."""

from __future__ import annotations

import pytest
from torch import nn

from medseg.networks import AdaptiveUNet, create, list_networks, register


def test_names_are_sorted_and_can_be_searched() -> None:
    names = list_networks()
    assert names == sorted(names) and "adaptive_unet" in names
    assert list_networks("adaptive*") == ["adaptive_unet"]


def test_creates_what_the_name_stands_for() -> None:
    net = create("adaptive_unet", spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8))
    assert isinstance(net, AdaptiveUNet) and net.head.out_channels == 2


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("adaptiv_unet", {}, "network 'adaptiv_unet' is unknown; did you mean 'adaptive_unet'"),
        ("zzz", {}, "network 'zzz' is unknown; expected one of .*adaptive_unet"),
        ("adaptive_unet", {"chanels": (4, 8)}, "'adaptive_unet' has no argument 'chanels'; did you mean 'channels'"),
        ("adaptive_unet", {"spatial_dims": 2}, "'adaptive_unet' needs in_channels, out_channels; it is AdaptiveUNet"),
    ],
)
def test_mistakes_are_answered_with_what_exists(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(name, **arguments)


def test_an_argument_that_a_network_cannot_have_is_answered_with_the_reason() -> None:
    with pytest.raises(ValueError, match="'pnet' does not take 'down': it does not halve maps"):
        create("pnet", spatial_dims=2, in_channels=1, out_channels=2, down="max")
    with pytest.raises(ValueError, match=r"'vnet_monai' does not take 'conv': its layers are MONAI's; .*adapt"):
        create("vnet_monai", spatial_dims=2, in_channels=1, out_channels=2, conv="quadtree")


def test_a_name_is_given_once() -> None:
    assert register("adaptive_unet")(AdaptiveUNet) is AdaptiveUNet
    with pytest.raises(ValueError, match="'adaptive_unet' is already used for AdaptiveUNet"):
        register("adaptive_unet")(nn.Identity)
    with pytest.raises(ValueError, match="name is 'My-Net'; expected lower case"):
        register("My-Net")
