"""The branch of patches around clicks: identity at the start, its formula, samples without a click, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from medseg.layers.guidance import Guidance, PatchModulator
from medseg.networks import GuidedNet, UNet2015
from medseg.transforms import ClickPatches

SMALL: dict[str, Any] = {"convs": (4, 6), "width": 5}


def make(dims: int = 2, trained: bool = True, **options: Any) -> PatchModulator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = PatchModulator(dims, [3, 5], **{**SMALL, **options}).eval()
        if trained:
            torch.nn.init.normal_(layer.last.weight)
    return layer


@pytest.mark.parametrize("dims", [2, 3])
def test_starts_with_scales_of_one_and_learns_from_the_first_step(dims: int) -> None:
    layer = make(dims, trained=False, shift=True)
    scales, shifts = layer(Guidance(torch.randn(2, 3, *(8,) * dims)))
    assert all(torch.equal(s, torch.ones_like(s)) for s in scales) and [s.shape for s in scales] == [(2, 3), (2, 5)]
    assert all(s is not None and not s.any() for s in shifts)
    sum(s.sum() for s in scales).backward()
    assert layer.last.weight.grad.abs().sum() > 0


def test_computes_convolutions_their_mean_and_two_layers() -> None:
    layer, x = make(shift=True), torch.randn(2, 3, 8, 8)
    y = F.conv2d(x, layer.layers[0].weight, padding=1).relu()
    y = F.conv2d(y, layer.layers[2].weight, padding=1).relu().mean((2, 3))
    y = (y @ layer.mix[0].weight.T + layer.mix[0].bias).relu() @ layer.last.weight.T
    scales, shifts = layer(Guidance(x))
    torch.testing.assert_close(torch.cat(scales, 1), 1 + y[:, :8])
    torch.testing.assert_close(torch.cat(shifts, 1), y[:, 8:])


def test_has_the_layers_of_its_source_at_full_size() -> None:
    with torch.device("meta"):
        layer = PatchModulator(2, [128, 128, 256, 256, 512, 512, 1024, 1024])
    convs = (27 + 1) * 64 + (9 * 64 + 1) * 64 + (9 * 64 + 1) * 128
    expected = convs + (128 + 1) * 200 + (200 + 1) * 3840 + 128
    assert sum(p.numel() for p in layer.parameters()) == expected


def test_samples_without_a_click_get_what_no_patches_give() -> None:
    layer, x = make(), torch.randn(2, 3, 8, 8)
    mixed = layer(Guidance(x, guided=torch.tensor([True, False])))[0]
    for m, a, n in zip(mixed, layer(Guidance(x))[0], layer(batch=2)[0], strict=True):
        assert torch.equal(m[0], a[0]) and torch.equal(m[1], n[1]) and not torch.equal(a[1], n[1])


@pytest.mark.parametrize("dims", [2, 3])
def test_guides_a_network_by_clicks(dims: int) -> None:
    torch.manual_seed(0)
    base = UNet2015(dims, 1, 2, (4, 6), padding="same", norm="instance", dropout=None).eval()
    shape = (1, *(16,) * dims)
    net = GuidedNet(base, ("patches", {"signals": 2, **SMALL}), None, image=shape).eval()
    image = torch.randn(2, *shape)
    clicks = torch.tensor([[1.0, *(8.0,) * dims, *(0.0,) * dims]])
    known = Guidance(torch.stack([ClickPatches((4, 8), 4)(one, clicks).as_tensor() for one in image]))
    with torch.no_grad():
        assert torch.equal(net(image, guidance=known), base(image)) and torch.equal(net(image), base(image))
        torch.nn.init.normal_(net.density.last.weight)
        both, none = net(image, guidance=known), net(image)
        mixed = net(image, guidance=known._replace(guided=torch.tensor([True, False])))
        assert not torch.allclose(both, none)
        torch.testing.assert_close(mixed, torch.stack([both[0], none[1]]))
        program = torch.export.export(net, (image, known), strict=False).module()
        torch.testing.assert_close(program(0.5 * image, known), net(0.5 * image, guidance=known))


def test_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"signals is 0, convs \[4, 6\], width 5; expected numbers from 1"):
        make(signals=0)
    with pytest.raises(ValueError, match=r"appearance has shape \[2, 4, 8, 8\]; expected patches \[2, 3, size, size\]"):
        make()(Guidance(torch.zeros(2, 4, 8, 8)))
    with pytest.raises(ValueError, match=r"guided is torch.float32 of shape \[2\]; expected bool of \[2\]"):
        make()(Guidance(torch.zeros(2, 3, 8, 8), guided=torch.ones(2)))
    with pytest.raises(ValueError, match="texture or valid is given; expected only appearance and guided"):
        make()(Guidance(torch.zeros(2, 3, 8, 8), texture=torch.zeros(2, 1)))
