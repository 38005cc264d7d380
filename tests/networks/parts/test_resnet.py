"""The residual network: torchvision's function with torchvision's weights, and the same slice by slice."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.networks.parts.resnet import PairMax, ResNet
from medseg.networks.parts.resnet_weights import load_resnet
from tests.networks._counting import count_parameters, on_meta
from tests.networks._torchvision_peer import shake_statistics, torchvision_models

SMALL: dict[str, Any] = {"layers": (1, 2, 1, 1), "width": 4}


@pytest.mark.parametrize(("layers", "count"), [((3, 4, 6, 3), 25_557_032), ((3, 4, 23, 3), 44_549_160)])
def test_has_the_published_count_without_the_classifying_layer(layers: tuple[int, ...], count: int) -> None:
    assert count_parameters(on_meta(lambda: ResNet("net", 2, 3, layers))) == count - 1000 * 2049


@pytest.mark.parametrize(
    ("layers", "output_stride", "dilate"),
    [((3, 4, 6, 3), 32, [False] * 3), ((1, 1, 2, 2), 8, [False, True, True]), ((1, 1, 1, 2), 16, [False, False, True])],
)
def test_every_stage_equals_torchvisions(
    layers: tuple[int, ...], output_stride: int, dilate: list[bool], tmp_path: Path
) -> None:
    peer = torchvision_models().resnet
    theirs = peer.ResNet(peer.Bottleneck, list(layers), replace_stride_with_dilation=dilate).eval()
    shake_statistics(theirs)
    torch.save(theirs.state_dict(), tmp_path / "resnet.pt")
    ours = on_meta(lambda: ResNet("net", 2, 3, layers, output_stride=output_stride)).to_empty(device="cpu").eval()
    report = load_resnet(ours, tmp_path / "resnet.pt")
    assert report.unused == ["fc.bias", "fc.weight"] and not report.fresh
    x = torch.randn(1, 3, 53, 64)
    with torch.no_grad():
        maps = ours.encode(x)
        y = theirs.relu(theirs.bn1(theirs.conv1(x)))
        expected = [y]
        y = theirs.maxpool(y)
        for stage in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            y = stage(y)
            expected.append(y)
    assert len(maps) == len(expected)
    for a, b in zip(maps, expected, strict=True):
        scale = float(b.abs().max())
        torch.testing.assert_close(a / scale, b / scale, rtol=0, atol=1e-5)


def test_files_are_accounted_for_key_by_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parent, path = ResNet("net", 2, 3, **SMALL), tmp_path / "net.pt"
    torch.save({**parent.state_dict(), "fc.weight": torch.zeros(2, 2)}, path)
    child = ResNet("net", 2, 3, **SMALL)
    with caplog.at_level(logging.INFO):
        report = load_resnet(child, path)
    assert report.unused == ["fc.weight"] and not report.fresh and set(report.used) == set(parent.state_dict())
    assert "unused ['fc.weight']" in caplog.text
    assert all(torch.equal(a, b) for a, b in zip(parent.parameters(), child.parameters(), strict=True))


def test_another_number_of_channels_keeps_a_random_stem_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parent, path = ResNet("net", 2, 3, **SMALL), tmp_path / "net.pt"
    torch.save(parent.state_dict(), path)
    child = ResNet("net", 2, 6, **SMALL)
    assert load_resnet(child, path).fresh == ["conv1.weight"]
    assert (
        "stem keeps its random values: that of the file has shape [4, 3, 7, 7], that of the network [4, 6, 7, 7]"
        in caplog.text
    )
    torch.testing.assert_close(child.layer4[0].conv3.weight, parent.layer4[0].conv3.weight, rtol=0, atol=0)


def test_files_of_another_network_are_refused(tmp_path: Path) -> None:
    path, net = tmp_path / "net.pt", ResNet("net", 2, 3, **SMALL)
    torch.save(ResNet("net", 2, 3, layers=(1, 2, 1, 1), width=8).state_dict(), path)
    with pytest.raises(ValueError, match=r"net.pt: 'bn1.weight' is of shape \[8\]; expected \[4\]"):
        load_resnet(net, path)
    torch.save(ResNet("net", 2, 3, layers=(1, 1, 1, 1), width=4).state_dict(), path)
    with pytest.raises(ValueError, match=r"'layer2.1.conv1.weight' is missing"):
        load_resnet(net, path)
    with pytest.raises(ValueError, match="no weights there"):
        load_resnet(net, tmp_path / "none.pt")


@pytest.mark.parametrize("dims", [2, 3])
def test_sides_are_halved_by_rounding_up(dims: int) -> None:
    net = ResNet("net", dims, 2, **SMALL).eval()
    maps = net.encode(torch.randn(1, 2, *(37,) * dims))
    assert [tuple(m.shape[2:]) for m in maps] == [(s,) * dims for s in (19, 10, 5, 3, 2)]
    assert [m.shape[1] for m in maps] == net.channels == [4, 16, 32, 64, 128]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("down", ["stride", "max", "sparse", "max-max-sd-max-max"])
def test_halves_as_it_is_told_and_as_often(down: str, output_stride: int) -> None:
    if "-" in down and output_stride != 32:
        pytest.skip("the placement has five halvings")
    net = ResNet("net", 2, 1, **SMALL, output_stride=output_stride, down=down)
    maps, places, _ = net.run_levels(torch.randn(2, 1, 64, 64))
    assert len(places) == output_stride.bit_length() - 1
    assert [place is not None for place in places] == [kind == "sparse" for kind in net.plug.kinds]
    assert [m.shape[2] for m in maps] == [max(s, 64 // output_stride) for s in (32, 16, 16, 8, 4, 2)]


@pytest.mark.parametrize(("slices", "left"), [(1, [1, 1, 1, 1, 1]), (7, [4, 2, 1, 1, 1]), (33, [17, 9, 5, 3, 2])])
def test_slices_are_halved_with_the_plane_but_one_stays_one(slices: int, left: list[int]) -> None:
    net = ResNet("net", 3, 1, **SMALL, flat=True).eval()
    assert [m.shape[-1] for m in net.encode(torch.randn(1, 1, 32, 32, slices))] == left
    every = ResNet("net", 3, 1, **SMALL, flat=True, pool_slices=False).eval()
    assert {m.shape[-1] for m in every.encode(torch.randn(1, 1, 32, 32, slices))} == {slices}


def test_the_larger_of_two_slices_stays_and_the_last_odd_one() -> None:
    x = torch.tensor([3.0, 1.0, -2.0, 5.0, -7.0]).view(1, 1, 1, 1, 5)
    assert PairMax()(x).flatten().tolist() == [3, 5, -7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": (1, 2, 3)}, r"net: layers is \[1, 2, 3\]; expected 4 numbers"),
        ({"output_stride": 4}, "net: output_stride is 4; expected 8, 16 or 32"),
        ({"down": ("stride", {"kernel_size": 3})}, "expected 'stride' without arguments"),
        ({"down": "max-max"}, "down 'max-max' has 2 stages; expected 5"),
    ],
)
def test_settings_that_do_not_fit_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNet("net", 2, 1, **options)
