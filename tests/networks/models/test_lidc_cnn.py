"""The study's CNN: its stages, its counts, and the halvings that the study compares."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from medseg.layers import QuadtreeConv, SparseDownsample
from medseg.networks import LIDCNet
from tests.networks._counting import count_parameters


@pytest.mark.parametrize(("dims", "widths"), [(2, (8, 8, 16, 24, 32, 48)), (3, (8, 16, 24, 32))])
def test_has_the_parameters_of_its_stages(dims: int, widths: tuple[int, ...]) -> None:
    kernels = sum(3**dims * a * b for a, b in zip((1, *widths), widths, strict=False))
    assert count_parameters(LIDCNet(dims)) == kernels + 2 * sum(widths) + 2 * widths[-1] + 2


@pytest.mark.parametrize(
    ("down", "sparse"),
    [("max", []), ("4sd-2max", [0, 1, 2, 3]), ("6sd", [0, 1, 2, 3, 4, 5]), ("max-max-sd-sd-max-max", [2, 3])],
)
def test_the_halvings_are_those_of_the_study(down: str, sparse: list[int]) -> None:
    net = LIDCNet(2, down=down)
    assert [i for i, d in enumerate(net.downs) if isinstance(d.halve, SparseDownsample)] == sparse
    out = net(torch.randn(2, 1, 64, 64))
    assert out.shape == (2, 2)
    out.square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_is_plain_layers_one_after_the_other() -> None:
    net, x = LIDCNet(2, head="max").eval(), torch.randn(2, 1, 64, 64)
    y = x
    for block in net.blocks:
        y = nn.functional.max_pool2d(torch.relu(block[1](block[0](y))), 2)
    torch.testing.assert_close(net(x), net.head[1](y.amax((2, 3))))
    assert [m.shape[2] for m in net.encode(x)] == [64, 32, 16, 8, 4, 2, 1]


def test_convolutions_become_adaptive() -> None:
    conv: Any = ("quadtree", {"rounds": 1, "root": 2, "levels": 2})
    net = LIDCNet(3, conv=conv)
    net(torch.randn(2, 1, 32, 32, 32)).sum().backward()
    assert [isinstance(b[0], QuadtreeConv) for b in net.blocks] == [True, True, False, False]


def test_says_what_it_expects() -> None:
    with pytest.raises(ValueError, match=r"LIDCNet: image of size \[100, 100\]; expected multiples of 64"):
        LIDCNet(2)(torch.zeros(1, 1, 100, 100))
    with pytest.raises(ValueError, match="head is 'sum'; expected 'mean' or 'max'"):
        LIDCNet(2, head="sum")
    with pytest.raises(ValueError, match="spatial_dims is 4; expected 2 or 3"):
        LIDCNet(4)
