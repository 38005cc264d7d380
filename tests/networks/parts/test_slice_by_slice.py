"""A 2-D network on the slices of a volume: the network's own results, its gradient, guidance, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medseg.layers.guidance import Guidance
from medseg.networks import SliceBySlice, slice_triplets
from tests.networks._cases import small


def volume(channels: int = 1, batch: int = 2) -> Tensor:
    return torch.randn(batch, channels, 16, 24, 5, generator=torch.Generator().manual_seed(3))


def test_every_slice_has_the_result_of_the_network() -> None:
    net, x = small("unet2015", in_channels=2).eval(), volume(2)
    found = SliceBySlice(net)(x)
    assert found.shape == (2, 3, 16, 24, 5)
    for z in range(5):
        torch.testing.assert_close(found[..., z], net(x[..., z]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("axis", "same"), [(0, -3), (1, -2), (2, -1)])
def test_slices_lie_across_any_axis(axis: int, same: int) -> None:
    net = small("unet2015").eval()
    x = torch.randn(1, 1, 12, 16, 20, generator=torch.Generator().manual_seed(4))
    found = SliceBySlice(net, axis=axis)(x)
    expected = torch.stack([net(x.select(2 + axis, i)) for i in range(x.shape[2 + axis])], 2 + axis)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(SliceBySlice(net, axis=same)(x), found)


def test_neighbours_are_channels_as_in_slice_triplets() -> None:
    net, x = small("mcgcn").eval(), volume()
    found = SliceBySlice(net, neighbours=1)(x)
    expected = net(slice_triplets(x)).unflatten(0, (2, 5)).movedim(1, -1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_two_neighbours_of_two_channels_come_channel_by_channel_with_zeros_beyond_the_volume() -> None:
    first = nn.Conv2d(10, 10, 1, bias=False)
    nn.init.dirac_(first.weight)  # returns its input
    x = volume(2, batch=1)
    found = SliceBySlice(first, neighbours=2)(x)[0, :, :, :, 1]
    before = torch.zeros(16, 24)
    expected = [stack for c in (0, 1) for stack in (before, *(x[0, c, :, :, z] for z in range(4)))]
    assert torch.equal(found, torch.stack(expected))


def test_it_learns_and_lists_of_results_are_stacked_one_by_one() -> None:
    net = SliceBySlice(small("danet", auxiliary=True)).train()
    found = net(torch.randn(1, 1, 32, 32, 3))
    assert [one.shape for one in found] == [(1, 3, 32, 32, 3)] * 3
    sum(one.square().mean() for one in found).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_guides_are_cut_into_slices_and_the_rest_goes_to_all_slices_of_its_volume() -> None:
    net = small("guided_unet", spatial="linear").train()
    with torch.no_grad():  # guidance starts as the identity
        for p in net.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(5)))
    net.eval()
    x, guide = volume(), torch.rand(2, 1, 16, 24, 5)
    histograms = torch.rand(2, 2, 1, 10).softmax(-1)
    known = Guidance(appearance=histograms, spatial=guide, guided=torch.tensor([True, False]))
    found = SliceBySlice(net)(x, guidance=known)
    for z in range(5):
        expected = net(x[..., z], guidance=known._replace(spatial=guide[..., z]))
        torch.testing.assert_close(found[..., z], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], SliceBySlice(net)(x)[0])
    torch.testing.assert_close(found[1], SliceBySlice(net)(x)[1], rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"has no 2-D convolution; expected a network with spatial_dims=2"):
        SliceBySlice(small("unet2015", dims=3))
    with pytest.raises(ValueError, match=r"takes 1 channels, with 1 neighbours .* expected a multiple of 3"):
        SliceBySlice(small("unet2015"), neighbours=1)
    for wrong in ({"neighbours": -1}, {"axis": 3}):
        with pytest.raises(ValueError, match="expected neighbours from 0, axis -3 to 2"):
            SliceBySlice(small("unet2015"), **wrong)
    with pytest.raises(ValueError, match=r"input has shape \[2, 2, 16, 24, 5\]; expected \[B, 1, D, H, W\]"):
        SliceBySlice(small("unet2015"))(volume(2))
