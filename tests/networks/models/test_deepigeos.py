"""P-Net and R-Net: what each block sees, counts by hand, and the order of the refinement's channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medseg.layers import QuadtreeConv
from medseg.networks import PNet, RNet, refinement_input
from tests.networks._counting import count_parameters, on_meta


def footprints(net: PNet, *size: int) -> list[tuple[int, ...]]:
    """Extent along each axis of what one central voxel of every block's result depends on."""
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)  # positive everywhere: no path is cut by a ReLU
    x = torch.rand(1, 1, *size, requires_grad=True)
    extents = []
    for features in net.encode(x):
        centre = features[(0, 0, *(s // 2 for s in size))]
        (gradient,) = torch.autograd.grad(centre, x, retain_graph=True)
        seen = gradient[0, 0].nonzero()
        extents.append(tuple((seen.amax(0) - seen.amin(0) + 1).tolist()))
    return extents


def test_blocks_see_5_13_37_85_and_181_pixels() -> None:
    assert footprints(PNet(channels=1), 185, 185) == [(side, side) for side in (5, 13, 37, 85, 181)]


def test_in_3d_only_the_first_convolution_of_a_block_sees_along_the_last_axis() -> None:
    net = PNet(3, channels=1, compressed=1)
    assert footprints(net, 39, 3, 33)[:3] == [(5, 3, 3), (13, 3, 7), (37, 3, 15)]
    kernels = [m.kernel_size for block in net.blocks for m in block.modules() if isinstance(m, nn.Conv3d)]
    assert [k[2] for k in kernels] == [3, 1, 3, 1, 3, 1, 1, 3, 1, 1, 3, 1, 1]


def test_has_the_parameters_of_its_layers_in_2d() -> None:
    blocks = (9 + 1) * 64 + 12 * (64 * 9 + 1) * 64
    head = (5 * 64 + 1) * 64 + (64 + 1) * 2
    assert count_parameters(on_meta(PNet)) == blocks + head == 464_450


def test_has_the_parameters_of_its_layers_in_3d() -> None:
    blocks = (27 + 1) * 16 + 4 * (16 * 27 + 1) * 16 + 8 * (16 * 9 + 1) * 16
    compression, head = 5 * (16 + 1) * 4, (5 * 4 + 1) * 16 + (16 + 1) * 2
    assert count_parameters(on_meta(PNet, spatial_dims=3)) == blocks + compression + head


@pytest.mark.parametrize("size", [(17, 23), (9, 11, 5)])
def test_takes_any_size_and_learns(size: tuple[int, ...]) -> None:
    net = PNet(len(size), 2, 3, channels=8, norm="instance")
    out = net(torch.randn(2, 2, *size))
    assert out.shape == (2, 3, *size)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(("size", "adaptive"), [((32, 48), 2), ((16, 16, 16), 1)])
def test_convolutions_that_do_not_dilate_become_adaptive(size: tuple[int, ...], adaptive: int) -> None:
    net = RNet(len(size), 4, 2, channels=4, conv=("quadtree", {"rounds": 1, "root": 2}))
    assert [type(m) is QuadtreeConv for m in net.blocks[0].layers].count(True) == adaptive
    assert adaptive == sum(isinstance(m, QuadtreeConv) for m in net.modules())
    net(torch.randn(1, 4, *size)).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_refinement_takes_image_initial_foreground_background_in_this_order() -> None:
    parts = [torch.full((1, channels, 4, 4), float(value)) for channels, value in ((2, 1), (1, 2), (1, 3), (1, 4))]
    x = refinement_input(*parts)
    assert x[0, :, 0, 0].tolist() == [1, 1, 2, 3, 4]
    assert RNet(2, in_channels=5, channels=4)(x).shape == (1, 2, 4, 4)


def test_refinement_says_what_does_not_fit() -> None:
    good, bad = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5)
    with pytest.raises(ValueError, match=r"foreground has shape \[1, 1, 4, 5\]; expected \[1, 1, 4, 4\]"):
        refinement_input(good, good, bad, good)
    with pytest.raises(ValueError, match="in_channels is 3; expected the image's channels plus 3"):
        RNet(in_channels=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_dims": 4}, "spatial_dims is 4; expected 2 or 3"),
        ({"channels": 8, "compressed": 9}, "compressed is 9; expected 1 to channels=8"),
    ],
)
def test_settings_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PNet(**options)
