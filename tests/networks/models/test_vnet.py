"""V-Net after the paper, its count derived layer by layer, and MONAI's under its own name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets import VNet as MonaiOriginal

from medseg.layers import SparseUpsample
from medseg.networks import MonaiVNet, VNet
from tests.networks._counting import count_macs, count_parameters, on_meta


def parameters_by_hand(dims: int, image: int, classes: int) -> int:
    """The sum over the paper's layers: weights, biases and, except for the head, one PReLU slope a channel."""

    def layer(before: int, after: int, side: int, slopes: bool = True) -> int:
        return before * after * side**dims + after * (2 if slopes else 1)

    down = layer(image, 16, 5)
    for width, convs in ((32, 2), (64, 3), (128, 3), (256, 3)):
        down += layer(width // 2, width, 2) + convs * layer(width, width, 5)
    up, below = 0, 256
    for width, convs in ((256, 3), (128, 3), (64, 2), (32, 1)):
        up += layer(below, width // 2, 2) + convs * layer(width, width, 5)
        below = width
    return down + up + layer(32, classes, 1, slopes=False)


@pytest.mark.parametrize(("dims", "image", "classes"), [(3, 1, 2), (3, 4, 3), (2, 1, 2)])
def test_has_the_parameters_of_the_papers_layers(dims: int, image: int, classes: int) -> None:
    net = on_meta(VNet, spatial_dims=dims, in_channels=image, out_channels=classes)
    assert count_parameters(net) == parameters_by_hand(dims, image, classes)


def test_has_65_million_parameters_in_its_usual_form() -> None:
    assert parameters_by_hand(3, 1, 2) == 65_175_314


def test_stages_without_weights_pass_on_what_they_get() -> None:
    net = VNet(2, 3, 2, channels=(8, 16))
    with torch.no_grad():
        for stage in [*net.encoder, *net.decoder]:
            for parameter in stage.convs.parameters():
                parameter.zero_()
            for act in stage.acts:
                act.weight.fill_(1)
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(net.encoder[0](x), torch.cat([x, x, x], 1)[:, :8])
    y = torch.randn(1, 16, 8, 8)
    torch.testing.assert_close(net.decoder[0](y), y)


def test_encodes_from_high_to_low_resolution() -> None:
    maps = VNet(2, 1, 2, channels=(4, 8, 16)).encode(torch.randn(2, 1, 16, 32))
    assert [tuple(m.shape) for m in maps] == [(2, 4, 16, 32), (2, 8, 8, 16), (2, 16, 4, 8)]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("down", ["stride", "max", "sparse"])
@pytest.mark.parametrize("conv", ["plain", ("quadtree", {"rounds": 1, "root": 2})])
def test_learns(dims: int, down: str, conv: Any) -> None:
    net = VNet(dims, 1, 2, channels=(4, 8, 12), norm="instance", dropout=0.1, down=down, conv=conv)
    out = net(torch.randn(1, 1, *(32,) * dims))
    assert out.shape == (1, 2, *(32,) * dims)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert any(isinstance(m, SparseUpsample) for m in net.modules()) is (down == "sparse")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 5, "channels": (4, 8)}, "in_channels is 5; expected 1 to 4"),
        ({"channels": (4,)}, "channels has 1 levels; expected 2 to 5"),
    ],
)
def test_settings_that_do_not_fit_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VNet(2, **options)


@pytest.mark.parametrize("build", [VNet, MonaiVNet])
def test_odd_sizes_are_named(build: Any) -> None:
    with pytest.raises(ValueError, match=r"image of size \[24, 32\]; expected multiples of 16"):
        on_meta(build, spatial_dims=2)(torch.empty(1, 1, 24, 32, device="meta"))


def test_the_one_of_monai_has_its_published_counts() -> None:
    two_classes = on_meta(MonaiVNet, out_channels=2, bias=True)
    assert count_parameters(on_meta(MonaiVNet)) == 45_593_892
    assert count_parameters(two_classes) == 45_599_452
    assert count_parameters(on_meta(MonaiVNet, spatial_dims=2)) == 9_357_924
    assert round(count_macs(two_classes, 1, 1, 64, 64, 64) / 1e9, 1) == 91.4


def test_the_one_of_monai_computes_what_monai_computes() -> None:
    ours, theirs = MonaiVNet(2).eval(), MonaiOriginal(2, dropout_dim=2).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    assert [m.shape[1] for m in ours.encode(x)] == [16, 32, 64, 128, 256]


def test_the_one_of_monai_names_the_channels_it_can_take() -> None:
    with pytest.raises(ValueError, match="in_channels is 3; expected 1, 2, 4, 8 or 16, or use 'vnet'"):
        MonaiVNet(in_channels=3)
