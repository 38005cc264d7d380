"""LocalHistogram: the op behind MONAI's conventions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medseg.transforms import LocalHistogram, LocalHistogramd, RegionHistogram
from tests.transforms._menu import MenuCase, TransformMenu

IMAGE = np.array([[[0, 1, 9], [3, 2, 1]]], np.float32)
EXPECTED = np.array([[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]])
EXPECTED[:, :, 1] = [[3 / 5] * 2, [2 / 5] * 2]
EXPECTED[:, :, 2] = [[2 / 3] * 2, [1 / 3] * 2]


class TestLocalHistogram(TransformMenu):
    case = MenuCase(
        array=lambda: LocalHistogram(3, 2, (0, 4)),
        dictionary=lambda: LocalHistogramd("image", 3, 2, (0, 4)),
        data={"image": IMAGE},
        expected=EXPECTED,
        output="image_histogram_maps",
        errors=(
            (lambda: LocalHistogram(bins=0), "bins is 0, expected a whole number from 1"),
            (lambda: LocalHistogram(value_range=(3, 1)), "expected two numbers, the lower one first"),
            (lambda: LocalHistogram(outside="wrap"), "outside is 'wrap', expected 'drop' or 'clip'"),
            (lambda: LocalHistogram(4)(IMAGE), "window is 4, expected an odd whole number of voxels"),
            (lambda: LocalHistogram()(IMAGE[0]), r"image has shape \(2, 3\), expected \(C, H, W\)"),
            (lambda: LocalHistogram()(IMAGE, IMAGE[:, :1]), r"mask has shape \(1, 1, 3\), expected \(1, 2, 3\)"),
            (lambda: LocalHistogram()(IMAGE, IMAGE), "mask holds values other than 0 and 1"),
            (lambda: LocalHistogramd("image", postfix=""), "postfix is '', expected a text"),
            (
                lambda: LocalHistogramd("image")({"image": IMAGE, "image_histogram_maps": 0}),
                "'image_histogram_maps' exists already",
            ),
        ),
    )


@pytest.mark.parametrize("outside", ["drop", "clip"])
@pytest.mark.parametrize("soft", [False, True])
def test_a_window_over_the_whole_image_gives_the_histogram_of_the_mask(soft: bool, outside: str) -> None:
    random = np.random.default_rng(0)
    image, mask = random.normal(0, 200, (2, 6, 5, 4)), random.random((1, 6, 5, 4)) < 0.5
    maps = LocalHistogram(11, 8, soft=soft, outside=outside)(image, mask)
    whole = RegionHistogram(8, soft=soft, outside=outside)(image, mask)
    assert tuple(maps.shape) == (16, 6, 5, 4)
    np.testing.assert_allclose(maps[:, 3, 2, 1], np.asarray(whole).reshape(-1), atol=1e-9)
    result = LocalHistogramd("image", 11, 8, soft=soft, outside=outside, mask_key="mask")(
        {"image": image, "mask": mask}
    )
    np.testing.assert_array_equal(result["image_histogram_maps"], maps)


def test_soft_maps_can_be_trained_through() -> None:
    image = torch.rand(1, 6, 6, requires_grad=True)
    LocalHistogram(3, 4, (0, 1), soft=True)(image).square().sum().backward()
    assert image.grad.abs().sum() > 0
