"""Guidance by concatenation: what the backbone reads, with guides, without them and with some."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medseg.networks import ConcatGuidedNet

DENSITY: Any = ("fc", {"bins": 10, "widths": (8,), "dropout": 0.0})


class Show(nn.Module):
    """Gives back what it reads."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_the_backbone_reads_image_guide_and_density_side_by_side() -> None:
    net = ConcatGuidedNet(Show(), guide_channels=2, density=DENSITY, density_channels=3)
    nn.init.normal_(net.density.head.last.weight)
    x, guide, density = torch.randn(2, 1, 8, 8), torch.rand(2, 2, 8, 8), torch.rand(2, 2, 1, 10)
    out = net(x, density, guide)
    assert torch.equal(out[:, :3], torch.cat((x, guide), 1))
    expected = net.density(density)[0][0]
    assert torch.equal(out[:, 3:], expected[..., None, None].expand(2, 3, 8, 8))


def test_dropped_samples_equal_the_null_form() -> None:
    net = ConcatGuidedNet(Show(), density=DENSITY, null=0.5)
    nn.init.normal_(net.density.head.last.weight)
    x, given = torch.randn(2, 1, 4, 4, 4), {"spatial": torch.rand(2, 1, 4, 4, 4), "density": torch.rand(2, 2, 10)}
    mixed = net(x, **given, guided=torch.tensor([True, False]))
    assert torch.equal(mixed[0], net(x, **given)[0])
    assert torch.equal(mixed[1], net(x)[1])
    assert (net(x)[:, 1] == 0.5).all()


def test_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="no guide_channels and no density"):
        ConcatGuidedNet(Show(), guide_channels=0)
    with pytest.raises(ValueError, match="guide_channels is -1"):
        ConcatGuidedNet(Show(), guide_channels=-1)
    with pytest.raises(ValueError, match="density is 'se', whose gates see the maps of a network; expected fc"):
        ConcatGuidedNet(Show(), density=("se", DENSITY[1]))
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="the net takes none; set density"):
        ConcatGuidedNet(Show())(x, density=torch.zeros(1, 2, 10))
    with pytest.raises(ValueError, match="spatial is given, but guide_channels is 0"):
        ConcatGuidedNet(Show(), guide_channels=0, density=DENSITY)(x, spatial=x)
    with pytest.raises(ValueError, match=r"spatial has shape \[1, 2, 4, 4\]; expected \[1, 1, 4, 4\]"):
        ConcatGuidedNet(Show())(x, spatial=torch.zeros(1, 2, 4, 4))
