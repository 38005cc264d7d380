"""AH-Net: the 2-D parent's encoder on every slice, no slice lost, published counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medseg.networks import MCGCN, AHNet, slice_triplets
from medseg.networks.parts.resnet import PairMax
from tests.networks._counting import count_macs, count_parameters, on_meta
from tests.networks._torchvision_peer import shake_statistics

SMALL: dict[str, Any] = {"layers": (1, 2, 1, 1), "width": 4}
TINY: dict[str, Any] = {**SMALL, "growth": 4}


def by_slice(x: Tensor) -> Tensor:
    """``[B, C, H, W, D]`` to ``[B * D, C, H, W]``."""
    return x.permute(0, 4, 1, 2, 3).flatten(0, 1)


def family(channels: int = 1, **options: Any) -> tuple[MCGCN, AHNet]:
    """A parent with statistics unlike those of a new network, and its child, which halves maps as the parent does."""
    parent = MCGCN(2, 3 * channels, 2, **SMALL, down=options.get("down", "stride"))
    shake_statistics(parent)
    child = AHNet(3, channels, 2, **TINY, **options)
    transferred = child.transfer_from_2d(parent)
    assert set(transferred) == set(parent.encoder.state_dict())
    return parent.eval(), child.eval()


class EverySecond(nn.Module):
    """Skips slices, as a stride across them does."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2]


def skip_slices(net: AHNet) -> AHNet:
    """The network with strides in the place of its maxima over slices."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, PairMax):
                setattr(module, name, EverySecond())
    return net


def slices_that_count(run: Any, slices: int = 7) -> list[int]:
    """Slices of a volume whose change changes a result."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 1, 48, 48, slices, generator=generator)
    other = torch.randn(1, 1, 48, 48, slices, generator=generator)
    with torch.no_grad():
        expected, found = run(x), []
        for z in range(slices):
            changed = x.clone()
            changed[..., z] = other[..., z]
            if not torch.equal(run(changed), expected):
                found.append(z)
    return found


def test_parameters_and_multiply_adds_are_the_published_ones() -> None:
    assert count_parameters(on_meta(lambda: AHNet(3, 1, 1))) == 27_085_500
    net = on_meta(lambda: AHNet(3, 1, 3))
    assert count_parameters(net) == 27_087_804
    assert round(count_macs(net, 1, 1, 128, 128, 32) / 1e9, 1) == 13.3


@pytest.mark.parametrize("channels", [1, 2])
def test_every_transferred_convolution_equals_its_parent_on_each_slice(channels: int) -> None:
    parent, child = family(channels)
    twins = dict(parent.encoder.named_modules())
    pairs = [(name, m, twins[name]) for name, m in child.encoder.named_modules() if isinstance(m, nn.Conv3d)]
    assert len(pairs) == sum(isinstance(m, nn.Conv2d) for m in twins.values()) == 1 + 3 * 5 + 4
    with torch.no_grad():
        for name, mine, theirs in pairs:
            x = torch.randn(2, mine.in_channels, 11, 12, 5)
            seen = slice_triplets(x) if name == "conv1" else by_slice(x)
            torch.testing.assert_close(by_slice(mine(x)), theirs(seen), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_without_pooling_of_slices_the_encoder_equals_its_parent_on_each_triplet(channels: int) -> None:
    parent, child = family(channels, z_pool=False)
    x = torch.randn(2, channels, 45, 64, 5)
    with torch.no_grad():
        mine, theirs = child.encode(x), parent.encode(slice_triplets(x))
    assert len(mine) == len(theirs) == 5
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(by_slice(a), b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def test_pooling_of_slices_keeps_the_larger_features_of_two() -> None:
    _, every = family(z_pool=False)
    _, pooled = family()
    pooled.encoder.load_state_dict(every.encoder.state_dict())
    x = torch.randn(1, 1, 32, 32, 5)
    with torch.no_grad():
        stem, found = every.encode(x)[0], pooled.encode(x)[0]
    expected = torch.stack([stem[..., 0:2].amax(-1), stem[..., 2:4].amax(-1), stem[..., 4]], -1)
    torch.testing.assert_close(found, expected)


def test_every_slice_counts_down_to_the_deepest_map() -> None:
    net = family()[1]
    assert slices_that_count(net) == list(range(7))
    assert slices_that_count(lambda x: net.encode(x)[-1]) == list(range(7))


def test_strides_across_slices_would_lose_some() -> None:
    net = skip_slices(family()[1])
    assert slices_that_count(lambda x: net.encode(x)[-1]) == [0, 1]  # those that the first kernel sees at slice 0
    with torch.no_grad():
        net.encoder.conv1.weight[..., [0, 2]] = 0  # a parent that looks at the middle slice alone
    assert slices_that_count(net) == [0, 2, 4, 6]


def test_pooling_would_keep_them_even_if_no_kernel_joined_slices() -> None:
    net = family()[1]
    with torch.no_grad():
        net.encoder.conv1.weight[..., [0, 2]] = 0
    assert slices_that_count(lambda x: net.encode(x)[-1]) == list(range(7))


@pytest.mark.parametrize("slices", [1, 2, 7])
@pytest.mark.parametrize("sides", [(32, 32), (37, 50)])
def test_takes_any_number_of_slices_and_any_plane(slices: int, sides: tuple[int, int]) -> None:
    net = AHNet(3, 1, 2, **TINY)
    x = torch.randn(2, 1, *sides, slices)
    out = net(x)
    assert out.shape == (2, 2, *sides, slices)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("down", ["max", "avg"])
def test_halves_in_plane_alone_whatever_halves(down: str) -> None:
    parent, child = family(down=down, z_pool=False)
    x = torch.randn(1, 1, 32, 64, 3)
    with torch.no_grad():
        for a, b in zip(child.encode(x), parent.encode(slice_triplets(x)), strict=True):
            torch.testing.assert_close(by_slice(a), b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
    assert slices_that_count(family(down=down)[1]) == list(range(7))


@pytest.mark.parametrize("options", [{"down": "sparse"}, {"conv": ("quadtree", {"rounds": 1, "root": 2, "levels": 3})}])
def test_patches_and_blocks_of_three_axes_are_refused_and_those_of_two_taken(options: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"AHNet: .* in 3-D; expected neither 'sparse' nor 'quadtree': .* contain several slices"
    ):
        AHNet(3, 1, 2, **TINY, **options)
    net = AHNet(2, 1, 2, **TINY, **options)
    out = net(torch.randn(2, 1, 64, 64))
    assert out.shape == (2, 2, 64, 64)
    out.square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_in_two_dimensions_equals_itself_on_a_single_slice() -> None:
    flat, deep = (AHNet(dims, 1, 2, **TINY).double().eval() for dims in (2, 3))
    state = deep.state_dict()
    for key, value in flat.state_dict().items():
        if value.ndim == 4 and key == "encoder.conv1.weight":
            state[key] = torch.zeros_like(state[key]).index_copy(-1, torch.tensor([1]), value[..., None])
        else:
            state[key] = value[..., None] if value.ndim == 4 else value
    for key in state:
        if ".across.2." in key:
            state[key] = torch.zeros_like(state[key])
    deep.load_state_dict(state)
    x = torch.randn(1, 1, 40, 33, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(deep(x[..., None])[..., 0], flat(x))


def test_dropout_acts_in_training_alone() -> None:
    net = AHNet(3, 1, 2, **TINY, dropout=0.5, norm="instance", windows=())
    x = torch.randn(1, 1, 64, 64, 2)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize(
    ("parent", "child", "message"),
    [
        ({"in_channels": 1}, {}, "the parent has 1 channels; expected 3"),
        ({"project": True}, {}, "the parent has project=True and is 2-D"),
        ({}, {"spatial_dims": 2}, "the child is 2-D; expected a 2-D MCGCN"),
        ({"width": 8}, {}, "'conv1.weight' differs between parent and child"),
        ({"layers": (1, 1, 1, 1)}, {}, "'layer2.1.conv1.weight' differs"),
        ({"conv": "quadtree"}, {}, "conv='plain'"),
        ({"down": "max"}, {}, "the parent halves by max-max-max-max-max, the child by stride-"),
    ],
)
def test_relatives_that_do_not_fit_are_named(parent: dict[str, Any], child: dict[str, Any], message: str) -> None:
    net = AHNet(**{"spatial_dims": 3, **TINY, **child})
    before = net.encoder.conv1.weight.clone()
    with pytest.raises(ValueError, match=message):
        net.transfer_from_2d(MCGCN(**{"spatial_dims": 2, **SMALL, **parent}))
    assert torch.equal(net.encoder.conv1.weight, before)


def test_settings_and_images_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"AHNet: growth is 20, windows are \[0\]; expected numbers of at least 1"):
        AHNet(windows=(0,), **SMALL)
    with pytest.raises(ValueError, match=r"AHNet: input has shape \[1, 2, 8, 8, 8\]; expected \[B, 1, D, H, W\]"):
        AHNet(3, 1, 2, **TINY)(torch.zeros(1, 2, 8, 8, 8))
