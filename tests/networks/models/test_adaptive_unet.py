"""`AdaptiveUNet` shares one partition among its levels and has a dense twin with the same parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from medseg.layers import QuadtreeConv
from medseg.networks import AdaptiveUNet
from medseg.partition import Quadtree


def make(dims: int = 2, **options: Any) -> AdaptiveUNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AdaptiveUNet(dims, 1, 3, **{"channels": (4, 6, 8), "rounds": 2, "root": 2, **options})


def image(*shape: int, seed: int = 0) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x * torch.linspace(2, 0.1, shape[2]).reshape(-1, *(1,) * (len(shape) - 3))


@pytest.mark.parametrize(("dims", "size"), [(2, (64, 96)), (3, (32, 32, 64))])
def test_trains_with_one_plan_for_all_levels(dims: int, size: tuple[int, ...]) -> None:
    net = make(dims)
    out = net(image(2, 1, *size))
    assert out.shape == (2, 3, *size)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_equals_its_dense_twin_when_every_block_is_active(training: bool) -> None:
    net, twin = make(budget=(1, 1)).double(), make(dense_equal=True).double()
    twin.load_state_dict(net.state_dict())
    x = image(2, 1, 64, 64).double()
    torch.testing.assert_close(net.train(training)(x), twin.train(training)(x), rtol=1e-8, atol=1e-10)
    assert not any(isinstance(module, QuadtreeConv) for module in twin.modules())
    assert net.macs((64, 64), net.plan(x)) == 2 * twin.macs((64, 64))


def test_counts_the_multiply_adds_that_hooks_count_in_the_dense_twin() -> None:
    twin = make(dense_equal=True)
    counted = []

    def count(weight: Tensor, positions: int) -> None:
        counted.append(weight.numel() * positions)

    original = torch.nn.functional.conv2d

    def convolve(x: Tensor, weight: Tensor, *args: Any, **options: Any) -> Tensor:
        out = original(x, weight, *args, **options)
        count(weight, out.shape[2] * out.shape[3])
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "conv2d", convolve)
        twin(image(1, 1, 64, 64))
    assert twin.macs((64, 64)) == sum(counted)


def test_macs_fall_with_the_budget() -> None:
    x = image(1, 1, 64, 64)
    nets = [make(budget=budget) for budget in ((1, 1), (0.5, 0.25), (0.25, 0.1))]
    counts = [net.macs((64, 64), net.plan(x)) for net in nets]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 3


def test_works_where_the_guide_varies() -> None:
    net, x = make().eval(), image(1, 1, 64, 64)
    guide = x.flip(2)
    assert not torch.equal(net.plan(x).mask, net.plan(guide).mask)
    torch.testing.assert_close(net(x, guide=guide), net(x, net.plan(guide)), rtol=0, atol=0)


def test_takes_the_rich_partition_that_can_be_plotted() -> None:
    net, x = make(adaptive_levels=2).eval(), image(1, 1, 64, 64)
    tree = Quadtree.from_image(x, rounds=2, root=2)
    torch.testing.assert_close(net(x, tree), net(x, tree.plan), rtol=0, atol=0)


def test_chooses_roots_that_leave_eight_voxels_to_a_tile_at_the_lowest_adaptive_level() -> None:
    net = make(root=None, adaptive_levels=2)
    assert net.plan(image(1, 1, 256, 256)).tile((128, 128)) == (8, 8)


def test_exports_with_its_partition() -> None:
    net = make().eval()
    program = torch.export.export(net, (image(1, 1, 64, 64),))
    x = image(1, 1, 64, 64, seed=4)
    torch.testing.assert_close(program.module()(x), net(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        ({}, (64, 66), r"image of size \[64, 66\]; expected multiples of 4"),
        ({}, (52, 52), "do not have whole voxels at 1/2 of its size"),
    ],
)
def test_says_what_image_it_expects(options: dict[str, Any], size: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)(image(1, 1, *size))


@pytest.mark.parametrize("options", [{"channels": (4,)}, {"adaptive_levels": 4}])
def test_says_how_many_levels_it_can_have(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected at least 2, at most all of them"):
        make(**options)
