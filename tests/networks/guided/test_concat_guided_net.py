"""Guidance by concatenation: what the backbone reads, with guides, without them and with some."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medseg.layers.guidance import Guidance
from medseg.networks import ConcatGuidedNet

HISTOGRAMS: Any = ("fc", {"bins": 10, "widths": (8,), "dropout": 0.0})


class Show(nn.Module):
    """Gives back what it reads."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_the_backbone_reads_image_guide_and_histograms_side_by_side() -> None:
    net = ConcatGuidedNet(Show(), guide_channels=2, appearance=HISTOGRAMS, appearance_channels=3)
    nn.init.normal_(net.density.head.last.weight)
    x, known = torch.randn(2, 1, 8, 8), Guidance(torch.rand(2, 2, 1, 10), torch.rand(2, 2, 8, 8))
    out = net(x, guidance=known)
    assert torch.equal(out[:, :3], torch.cat((x, known.spatial), 1))
    expected = net.density(known)[0][0]
    assert torch.equal(out[:, 3:], expected[..., None, None].expand(2, 3, 8, 8))


def test_dropped_samples_equal_the_null_form() -> None:
    net = ConcatGuidedNet(Show(), appearance=HISTOGRAMS, null=0.5)
    nn.init.normal_(net.density.head.last.weight)
    x, known = torch.randn(2, 1, 4, 4, 4), Guidance(torch.rand(2, 2, 10), torch.rand(2, 1, 4, 4, 4))
    mixed = net(x, guidance=known._replace(guided=torch.tensor([True, False])))
    assert torch.equal(mixed[0], net(x, guidance=known)[0])
    assert torch.equal(mixed[1], net(x)[1])
    assert (net(x)[:, 1] == 0.5).all()


def test_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="no guide_channels and no appearance"):
        ConcatGuidedNet(Show(), guide_channels=0)
    with pytest.raises(ValueError, match="guide_channels is -1"):
        ConcatGuidedNet(Show(), guide_channels=-1)
    with pytest.raises(ValueError, match="appearance is 'se', whose gates need the maps of a network; expected fc"):
        ConcatGuidedNet(Show(), appearance=("se", HISTOGRAMS[1]))
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="the network takes none; set appearance"):
        ConcatGuidedNet(Show())(x, guidance=Guidance(torch.zeros(1, 2, 10)))
    with pytest.raises(ValueError, match="spatial is given, but guide_channels is 0"):
        ConcatGuidedNet(Show(), guide_channels=0, appearance=HISTOGRAMS)(x, guidance=Guidance(spatial=x))
    with pytest.raises(ValueError, match=r"spatial has shape \[1, 2, 4, 4\]; expected \[1, 1, 4, 4\]"):
        ConcatGuidedNet(Show())(x, guidance=Guidance(spatial=torch.zeros(1, 2, 4, 4)))
