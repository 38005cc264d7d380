"""ForegroundInferer: the probabilities of MONAI's sliding window, from one channel."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from medseg.inference import ForegroundInferer

WINDOWS = {"roi_size": (8, 8, 8), "sw_batch_size": 3, "overlap": 0.25, "mode": "gaussian", "padding_mode": "replicate"}


def network(classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    # Without a norm, windows agree where they overlap; with one, blending matters.
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.ReLU(), nn.Conv3d(4, classes, 1)
    ).eval()


@pytest.mark.parametrize("shape", [(17, 12, 9), (5, 8, 20)])
def test_the_sigmoid_is_the_softmax_of_the_blended_logits(shape: tuple[int, ...]) -> None:
    image = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    net = network().double()
    with torch.no_grad():
        ours = ForegroundInferer(**WINDOWS)(image, net)
        theirs = SlidingWindowInferer(**WINDOWS)(image, net)
    assert ours.shape == (2, 1, *shape)
    torch.testing.assert_close(ours.sigmoid(), theirs.softmax(1)[:, 1:], atol=1e-12, rtol=0)


def test_one_channel_is_taken_as_it_is() -> None:
    image, net = torch.rand(1, 1, 9, 9, 9), network(1)
    with torch.no_grad():
        assert torch.equal(ForegroundInferer(**WINDOWS)(image, net), SlidingWindowInferer(**WINDOWS)(image, net))


def test_meta_data_stay() -> None:
    image = MetaTensor(torch.rand(1, 1, 9, 9, 9), meta={"filename_or_obj": "a"})
    with torch.no_grad():
        assert ForegroundInferer(**WINDOWS)(image, network()).meta["filename_or_obj"] == "a"


def test_more_classes_are_refused_with_the_inferer_for_them() -> None:
    with pytest.raises(ValueError, match=r"returned \[.*3.*\]; expected \[B, 2, ...\].*SlidingWindowInferer") as caught:
        ForegroundInferer(**WINDOWS)(torch.rand(1, 1, 9, 9, 9), network(3))
    assert "\n" not in str(caught.value)
