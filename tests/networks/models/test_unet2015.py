"""U-Net 2015: published counts and sizes, its padding, its start, and what plugs into it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medseg.layers import QuadtreeConv, SparseUpsample
from medseg.networks import UNet2015
from medseg.partition import Quadtree
from tests.networks._counting import count_macs, count_parameters, on_meta

SMALL: dict[str, Any] = {"channels": (4, 6, 8), "out_channels": 3}


def make(dims: int = 2, **options: Any) -> UNet2015:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet2015(dims, 1, **{**SMALL, **options})


def _inside(x: Tensor, size: Sequence[int]) -> Tensor:
    for axis, side in enumerate(size, start=2):
        x = x.narrow(axis, (x.shape[axis] - side) // 2, side)
    return x


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 31_030_658),
        ({"norm": "batch"}, 31_042_434),
        ({"norm": "batch", "bias": False, "in_channels": 3, "out_channels": 1}, 31_037_633),
    ],
)
def test_has_the_published_number_of_parameters(options: dict[str, Any], expected: int) -> None:
    assert count_parameters(on_meta(UNet2015, **options)) == expected


@pytest.mark.parametrize(("padding", "side", "giga"), [("valid", 572, 150.4), ("same", 256, 48.1)])
def test_costs_the_published_multiply_adds(padding: str, side: int, giga: float) -> None:
    assert round(count_macs(on_meta(UNet2015, padding=padding), 1, 1, side, side) / 1e9, 1) == giga


def test_turns_572_into_388() -> None:
    net = on_meta(UNet2015)
    assert net.output_size((572, 700)) == (388, 516)
    assert net(torch.empty(1, 1, 572, 700, device="meta")).shape == (1, 2, 388, 516)


@pytest.mark.parametrize("dims", [2, 3])
def test_without_padding_it_computes_the_middle_of_what_it_computes_with_padding(dims: int) -> None:
    options: dict[str, Any] = {"channels": (2, 3, 4), "dropout": None}
    valid, same = make(dims, **options).double(), make(dims, padding="same", **options).double()
    same.load_state_dict(valid.state_dict())
    x = image(1, 1, *(48, 56, 48)[:dims]).double()
    # 2 voxels at each end and the 2 + 2 * 2 that convolutions take before the last pooling are two of its cells: with
    # and without padding the same voxels are pooled.
    inner, whole = valid(_inside(x, tuple(s - 4 for s in x.shape[2:]))), same(x)
    assert whole.shape[2:] == x.shape[2:]
    torch.testing.assert_close(inner, _inside(whole, inner.shape[2:]))


def test_encodes_from_high_to_low_resolution() -> None:
    maps = make(padding="same").encode(image(2, 1, 16, 32))
    assert [tuple(m.shape) for m in maps] == [(2, 4, 16, 32), (2, 6, 8, 16), (2, 8, 4, 8)]


def test_starts_with_the_deviation_that_keeps_the_variance() -> None:
    net = UNet2015(channels=(32, 64, 128))
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 5000:
            summed = module.in_channels * (1 if module.transposed else math.prod(module.kernel_size))
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / summed), rel=0.05)
            assert not module.bias.any()


def test_drops_out_at_the_end_of_the_contracting_path_only() -> None:
    net = make(dropout=("dropout", {"p": 0.3}))
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Dropout)]
    assert [name.split(".")[:2] for name in names] == [["encoder", "1"], ["encoder", "2"]]
    assert not any(isinstance(module, nn.Dropout) for module in make(dropout=None).modules())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("down", ["max", "stride", "sparse", "max-sd"])
@pytest.mark.parametrize("conv", ["plain", ("quadtree", {"rounds": 1, "root": 2})])
def test_learns_with_every_halving_and_convolution(dims: int, down: Any, conv: Any) -> None:
    net = make(dims, padding="same", down=down, conv=conv)
    out = net(image(2, 1, *(32,) * dims))
    assert out.shape == (2, 3, *(32,) * dims)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert sum(isinstance(m, SparseUpsample) for m in net.modules()) == {"sparse": 2, "max-sd": 1}.get(down, 0)


def test_hands_one_partition_to_all_its_adaptive_convolutions() -> None:
    net, x = make(padding="same", conv=("quadtree", {"rounds": 1, "root": 2})).eval(), image(1, 1, 32, 32)
    seen: list[Any] = []
    for module in net.modules():
        if isinstance(module, QuadtreeConv):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    tree = Quadtree.from_image(x, rounds=1, root=2)
    net(x, tree.plan)
    assert len(seen) == 8
    assert all(plan is tree.plan for plan in seen)


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        (
            {},
            (51, 56),
            r"image of size \[51, 56\] with padding='valid'; .* of 44 plus a multiple of 4, such as \[52, 56\]",
        ),
        ({}, (8, 60), r"such as \[44, 60\]: mirror the border"),
        ({"padding": "same"}, (34, 32), r"image of size \[34, 32\]; expected multiples of 4 .*DivisiblePad, k=4"),
    ],
)
def test_says_what_sizes_it_takes(options: dict[str, Any], size: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)(image(1, 1, *size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "reflect"}, "padding is 'reflect'; expected 'valid' or 'same'"),
        ({"down": "sparse"}, "padding is 'valid' with down='sparse'.* set padding='same'"),
        ({"conv": "quadtree"}, "padding is 'valid' .* conv='quadtree'.* set padding='same'"),
        ({"channels": (4,)}, "channels has 1 levels; expected at least 2"),
    ],
)
def test_says_which_settings_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_says_how_many_channels_it_takes() -> None:
    with pytest.raises(ValueError, match=r"input has shape \[1, 2, 52, 52\]; expected \[B, 1, H, W\]"):
        make()(image(1, 2, 52, 52))
