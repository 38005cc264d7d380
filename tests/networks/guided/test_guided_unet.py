"""The guided U-Net: the size of its branches, learning in both dimensions, guides as the transforms make them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medseg.layers.guidance import Guidance
from medseg.networks import UNet2015, create
from medseg.transforms.guidance import GuideMap
from medseg.transforms.texture import RegionHistogram, region_valid
from tests.networks._counting import count_parameters, on_meta

SMALL: dict[str, Any] = {"in_channels": 1, "channels": (4, 6, 8), "appearance": ("fc", {"bins": 10, "widths": (8, 8)})}


def test_the_appearance_branch_predicts_the_3840_scales_of_its_source() -> None:
    net: Any = on_meta(lambda: create("guided_unet"))
    assert net.density.head.last.out_features == 3840
    assert count_parameters(net.spatial) == 2 * 3840  # a weight and a bias for each of as many channels
    assert count_parameters(net.backbone) == count_parameters(
        on_meta(UNet2015, in_channels=3, out_channels=3, norm=("instance", {"affine": True}))
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_learns_with_its_guides(dims: int) -> None:
    torch.manual_seed(dims)
    net = create("guided_unet", spatial_dims=dims, out_channels=2, after_affine=True, **SMALL)
    image = torch.randn(2, 1, *(16,) * dims)
    masks = torch.zeros(2, *(16,) * dims)
    masks[0, 2:14], masks[1, 6:9] = 1, 1
    histograms = torch.stack([RegionHistogram(10, (-3.0, 3.0))(one, masks) for one in image])
    prompts = torch.tensor([[1.0, *(8.0,) * dims, *(2.0,) * dims]])
    guide = torch.stack([GuideMap("ellipse", channels=("fg",))(one, prompts) for one in image])
    known = Guidance(histograms, guide, valid=region_valid(histograms), guided=torch.tensor([True, False]))
    out = net(image, guidance=known)
    assert out.shape == (2, 2, *(16,) * dims)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.backbone.parameters())
    assert net.density.head.last.weight.grad.any() and net.spatial.convs[0].weight.grad.any()
    assert all(gain.grad.any() for gain in net.gains)


def test_says_what_sizes_it_takes() -> None:
    with pytest.raises(ValueError, match=r"image of size \[18, 16\]; expected multiples of 4"):
        create("guided_unet", **SMALL)(torch.zeros(1, 1, 18, 16))
