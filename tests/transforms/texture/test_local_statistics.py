"""LocalStatistics: moments of every window, against SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from medseg.transforms import LocalStatistics, LocalStatisticsd
from tests.transforms._menu import MenuCase, TransformMenu

IMAGE = np.array([[[0, 2], [2, 0]]], np.float32)


class TestLocalStatistics(TransformMenu):
    case = MenuCase(
        array=lambda: LocalStatistics(3),
        dictionary=lambda: LocalStatisticsd("image", 3),
        data={"image": IMAGE},
        expected=np.broadcast_to(np.array([1.0, 1, 0, -2])[:, None, None], (4, 2, 2)),
        output="image_statistics",
        errors=(
            (lambda: LocalStatistics(statistics=["median"]), r"statistics is \['median'\], expected some of mean, std"),
            (lambda: LocalStatistics(statistics=()), r"statistics is \(\), expected some of mean, std"),
            (lambda: LocalStatistics(4)(IMAGE), "window is 4, expected an odd whole number of voxels"),
            (lambda: LocalStatistics()(IMAGE[0]), r"image has shape \(2, 2\), expected \(C, H, W\)"),
            (lambda: LocalStatisticsd("image", postfix=""), "postfix is '', expected a text"),
        ),
    )


@pytest.mark.parametrize("shape", [(7, 8), (4, 5, 6)], ids=["2-D", "3-D"])
def test_every_masked_window_equals_scipy(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    image, mask = random.normal(50, 20, (1, *shape)), random.random((1, *shape)) < 0.8
    maps = np.asarray(LocalStatistics(3)(image, mask))
    for place in itertools.product(*[range(s) for s in shape]):
        around = tuple(slice(max(0, p - 1), p + 2) for p in place)
        values = image[0][around][mask[0][around]]
        shape_of = [stats.skew(values), stats.kurtosis(values)] if np.ptp(values) > 0 else [0, 0]
        wanted = [values.mean(), values.std(), *shape_of]
        np.testing.assert_allclose(maps[(slice(None), *place)], wanted, rtol=1e-8, atol=1e-8)


def test_a_constant_window_has_a_mean_alone_and_an_empty_one_nothing() -> None:
    maps = LocalStatistics(3)(np.full((1, 4, 4), 7.3), np.pad(np.ones((1, 4, 1)), ((0, 0), (0, 0), (0, 3))))
    np.testing.assert_allclose(maps[0], np.repeat([[7.3, 7.3, 0, 0]], 4, axis=0))
    np.testing.assert_array_equal(maps[1:], np.zeros((3, 4, 4)))


def test_gradients_are_exact() -> None:
    image = torch.rand(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    make = LocalStatistics(3, ("std", "skewness"))
    assert torch.autograd.gradcheck(lambda t: make(t).as_tensor(), (image,))
