"""LargestComponent: MONAI's result, from the box around the mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import KeepLargestConnectedComponent
from scipy import ndimage

from medseg.geometry import component_sizes
from medseg.transforms import LargestComponent, LargestComponentd
from tests.transforms._menu import MenuCase, TransformMenu

MASK = np.zeros((1, 6, 7, 5), np.float32)
MASK[0, 0, 0, 0] = 1  # touches the larger one by a corner
MASK[0, 1:3, 1:4, 1:3] = 1
MASK[0, 4:6, 5:7, 3:5] = 1
LARGEST = MASK.copy()
LARGEST[0, 4:6, 5:7, 3:5] = 0


class TestLargestComponent(TransformMenu):
    case = MenuCase(
        array=LargestComponent,
        dictionary=lambda: LargestComponentd("image"),
        data={"image": MASK},
        expected=LARGEST,
        errors=((lambda: LargestComponent()(np.array([["a"]])), "mask is an array of <U1, expected"),),
    )


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(2, 15, 17), (1, 12, 9, 10), (3, 1, 1, 1)])
def test_the_result_is_that_of_monai(shape: tuple[int, ...], share: float) -> None:
    mask = (torch.rand(shape, generator=torch.Generator().manual_seed(5)) < share).to(torch.uint8)
    monai = KeepLargestConnectedComponent(applied_labels=1, is_onehot=False)
    for channel in mask:
        components, count = ndimage.label(channel.numpy(), structure=np.ones((3,) * channel.ndim))
        sizes = component_sizes(components, count)
        found, expected = LargestComponent()(channel[None]), monai(channel[None])
        assert int(found.sum()) == max(sizes, default=0)
        if (sizes == max(sizes, default=0)).sum() < 2:  # MONAI does not say which of equal components it keeps
            assert torch.equal(found, expected)


def test_the_first_of_two_equal_components_is_kept() -> None:
    mask = torch.tensor([[[1, 0, 1]]])
    assert LargestComponent()(mask).tolist() == [[[1, 0, 0]]]


def test_every_channel_is_looked_at_for_itself() -> None:
    mask = torch.tensor([[1, 0, 1, 1], [1, 1, 0, 1]])
    assert LargestComponent()(mask).tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
