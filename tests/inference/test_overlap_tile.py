"""Overlapping tiles give what one piece would give, at any size, up to the mirrored border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.inference.overlap_tile import OverlapTileInferer, inferer_for, overlap_tile_inference
from medseg.networks import UNet2015, VNet


def unet(dims: int = 2, **options: Any) -> UNet2015:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet2015(dims, 1, 2, **{"channels": (2, 3, 4), **options}).double().eval()


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()


def in_one_piece(net: UNet2015, x: Tensor, margin: int) -> Tensor:
    """The network on the mirrored image, which is made large enough for it at the far ends."""
    sides = []
    for side in x.shape[2:]:
        sides.append(next(s for s in range(side + 2 * margin, side + 2 * margin + 8) if net._valid(s)))
    ends = [s - side - margin for s, side in zip(sides, x.shape[2:], strict=True)]
    pads = [v for end in reversed(ends) for v in (margin, end)]
    out = net(F.pad(x, pads, mode="reflect"))
    for axis, side in enumerate(x.shape[2:], start=2):
        out = out.narrow(axis, 0, side)
    return out


@pytest.mark.parametrize("size", [(60, 64), (45, 101), (41, 42)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_tiles_equal_the_whole_image(size: tuple[int, int], batch_size: int) -> None:
    net, x = unet(), image(2, 1, *size)
    found = overlap_tile_inference(x, 64, net, multiple=4, batch_size=batch_size)
    assert found.shape == (2, 2, *size)
    torch.testing.assert_close(found, in_one_piece(net, x, 20), rtol=1e-10, atol=1e-12)


def test_tiles_equal_the_whole_volume() -> None:
    net, x = unet(3, channels=(2, 3)), image(1, 1, 14, 12, 11)
    found = overlap_tile_inference(x, (24, 20, 22), net, multiple=2)
    torch.testing.assert_close(found, in_one_piece(net, x, 8), rtol=1e-10, atol=1e-12)


def test_single_precision_agrees_to_rounding() -> None:
    net, x = unet().float(), image(1, 1, 60, 64).float()
    found = overlap_tile_inference(x, 64, net, multiple=4)
    torch.testing.assert_close(found, in_one_piece(net, x, 20), rtol=1e-4, atol=1e-5)


def test_tiles_that_start_elsewhere_would_pool_other_voxels() -> None:
    net, x = unet(), image(1, 1, 60, 64)
    aligned = overlap_tile_inference(x, 64, net, multiple=4)
    shifted = overlap_tile_inference(x, 64, net, multiple=23)
    torch.testing.assert_close(aligned[..., :23, :23], shifted[..., :23, :23])
    assert (aligned - shifted).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(1, 5), (3, 3), (70, 2)])
def test_images_smaller_than_the_border_are_mirrored_again_and_again(size: tuple[int, int]) -> None:
    kernel = torch.ones(1, 1, 41, 41).double() / 41**2
    x = image(1, 1, *size)
    found = overlap_tile_inference(x, 60, lambda t: F.conv2d(t, kernel), multiple=1)
    expected = F.conv2d(_reflect(_reflect(x, 2, 20), 3, 20), kernel)
    torch.testing.assert_close(found, expected)


def _reflect(x: Tensor, axis: int, margin: int) -> Tensor:
    """One voxel at a time: each new one is that as far inside of the border as it lies outside."""
    line = [*x.unbind(axis)]
    last = len(line) - 1
    places = []
    for at in range(-margin, len(line) + margin):
        while last and not 0 <= at <= last:
            at = -at if at < 0 else 2 * last - at
        places.append(at if last else 0)
    return torch.stack([line[p] for p in places], axis)


class Forgetful(nn.Module):
    """A network without `output_size`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.calls = net, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x)


def test_a_network_that_does_not_tell_its_size_is_called_once_more() -> None:
    net, x = unet(), image(1, 1, 24, 48)
    wrapped = Forgetful(net)
    found = overlap_tile_inference(x, 64, wrapped, multiple=4)
    torch.testing.assert_close(found, overlap_tile_inference(x, 64, net, multiple=4))
    assert wrapped.calls == 2 + 1


def test_as_an_inferer_it_keeps_the_affine() -> None:
    affine = torch.diag(torch.tensor([0.7, 0.7, 1.0, 1.0], dtype=torch.float64))
    x = MetaTensor(image(1, 1, 30, 30), affine=affine)
    found = OverlapTileInferer(64, multiple=4)(x, unet())
    assert isinstance(found, MetaTensor)
    torch.testing.assert_close(found.affine, affine)
    torch.testing.assert_close(found.as_tensor(), overlap_tile_inference(x.as_tensor(), 64, unet(), multiple=4))


def test_networks_that_keep_the_size_get_a_sliding_window() -> None:
    assert isinstance(inferer_for(unet(), 64), OverlapTileInferer)
    assert inferer_for(unet(), 64, multiple=4).tile_size == (64, 64)
    assert isinstance(inferer_for(unet(padding="same"), 64), SlidingWindowInferer)
    assert isinstance(inferer_for(VNet(2, channels=(4, 8)), (64, 64), overlap=0.5), SlidingWindowInferer)


@pytest.mark.parametrize(
    ("tile_size", "predictor", "multiple", "message"),
    [
        (64, nn.Identity(), 16, r"gives a result of the same size; .* use monai.inferers.SlidingWindowInferer"),
        (
            64,
            lambda t: t[..., 1:, 1:],
            16,
            r"result of size \[63, 63\]; expected one that is smaller by an even number",
        ),
        (64, lambda t: t.sum(), 16, r"the predictor returned \[\]; expected one map"),
        (64, lambda t: [t], 16, "the predictor returned list; expected one map"),
        (44, unet(), 16, r"result has size \[4, 4\], multiple is \[16, 16\]; .* choose a larger tile_size"),
        (61, unet(), 16, r"image of size \[61, 61\] with padding='valid'"),
        ((64, 64, 64), unet(), 16, r"tile_size is \(64, 64, 64\); expected one number from 1, or 2 of them"),
    ],
)
def test_what_does_not_fit_is_named(
    tile_size: int | Sequence[int], predictor: Any, multiple: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        overlap_tile_inference(image(1, 1, 20, 20), tile_size, predictor, multiple)
