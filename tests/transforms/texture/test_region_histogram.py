"""RegionHistogram: shares of a region's voxels by intensity, against numpy.histogram and in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medseg.transforms import RegionHistogram, RegionHistogramd, region_valid
from tests.transforms._menu import MenuCase, TransformMenu

IMAGE = np.array([[[0.0, 1.0, 2.0], [3.0, 4.0, 9.0]]], np.float32)
LABEL = np.array([[[1, 1, 2], [2, 2, 2]]], np.uint8)


class TestRegionHistogram(TransformMenu):
    case = MenuCase(
        array=lambda: RegionHistogram(2, (0, 4), labels=[1, (1, 2), 3]),
        dictionary=lambda: RegionHistogramd("image", "label", 2, (0, 4), labels=[1, (1, 2), 3]),
        data={"image": IMAGE, "label": LABEL},
        expected=np.array([[[1.0, 0.0]], [[0.4, 0.6]], [[0.0, 0.0]]]),
        second=("label",),
        output="image_histogram",
        beside=("image_histogram_valid",),
        errors=(
            (lambda: RegionHistogram(0), "bins is 0, expected a whole number from 1"),
            (lambda: RegionHistogram(1, soft=True), "bins is 1, expected a whole number from 2"),
            (lambda: RegionHistogram(4, (1, 1)), r"value_range is \(1, 1\), expected two numbers, the lower one first"),
            (lambda: RegionHistogram(4, (1, 2, 3)), r"value_range is \(1, 2, 3\), expected two numbers"),
            (lambda: RegionHistogram(outside="wrap"), "outside is 'wrap', expected 'drop' or 'clip'"),
            (lambda: RegionHistogram(labels=[]), r"labels is \[\], expected one label"),
            (lambda: RegionHistogram()(IMAGE, LABEL), "regions hold values other than 0 and 1"),
            (
                lambda: RegionHistogram()(IMAGE, LABEL[:, :1]),
                r"regions have shape \(1, 1, 3\), expected \(R, ",
            ),
            (lambda: RegionHistogram(slice_axis=2)(IMAGE, LABEL > 1), "slice_axis is 2, expected 0 to 1"),
            (lambda: RegionHistogram()(IMAGE[0], LABEL[0]), r"image has shape \(2, 3\), expected \(C, H, W\)"),
            (lambda: RegionHistogramd("image", "label", postfix=""), "postfix is '', expected a text"),
            (
                lambda: RegionHistogramd("image", "label")(
                    {"image": IMAGE, "label": LABEL, "image_histogram_valid": 0}
                ),
                "'image_histogram_valid' exists already",
            ),
        ),
    )


def ct(shape: tuple[int, ...] = (12, 10, 8), channels: int = 1) -> np.ndarray:
    """Whole HU, as CT has them, so that many of them lie on the edges of bins."""
    return np.random.default_rng(0).integers(-300, 350, (channels, *shape)).astype(np.float32)


def masks(shape: tuple[int, ...], count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).random((count, *shape)) < 0.4


@pytest.mark.parametrize(("bins", "low", "high"), [(100, -200, 250), (7, -310, 400), (64, -127.5, 31.25)])
def test_hard_bins_equal_numpy(bins: int, low: float, high: float) -> None:
    image, regions = ct(channels=2), masks((12, 10, 8))
    found = RegionHistogram(bins, (low, high))(image, regions)
    for r, region in enumerate(regions):
        for c in range(2):
            counts, _ = np.histogram(image[c][region].astype(np.float64), bins, (low, high))
            np.testing.assert_allclose(found[r, c], counts / counts.sum(), atol=1e-7)


def test_a_photograph_has_a_histogram_for_each_of_its_colours() -> None:
    from skimage.data import astronaut

    photograph = np.moveaxis(astronaut(), -1, 0)
    region = np.zeros((1, 512, 512), bool)
    region[0, 100:200, 150:300] = True
    found = RegionHistogram(256, (0, 256))(photograph, region)
    assert tuple(found.shape) == (1, 3, 256)
    for colour in range(3):
        np.testing.assert_allclose(found[0, colour], np.bincount(photograph[colour][region[0]], minlength=256) / 15000)


def test_values_out_of_range_are_dropped_or_clipped() -> None:
    image, region = np.array([[[-5.0, 0, 1, 2, 7, 8, np.nan]]]), np.ones((1, 1, 7))
    np.testing.assert_allclose(RegionHistogram(2, (0, 2))(image, region), [[[1 / 3, 2 / 3]]])
    np.testing.assert_allclose(RegionHistogram(2, (0, 2), outside="clip")(image, region), [[[1 / 3, 2 / 3]]])
    clipped = RegionHistogram(2, (0, 4), outside="clip")(image, region)
    np.testing.assert_allclose(clipped, [[[3 / 6, 3 / 6]]])


@pytest.mark.parametrize("soft", [False, True])
def test_the_order_of_voxels_does_not_matter(soft: bool) -> None:
    image, order = ct((40, 5)).reshape(1, -1), np.random.default_rng(2).permutation(200)
    make = RegionHistogram(30, soft=soft)
    first = make(image.reshape(1, 40, 5), np.ones((1, 40, 5)))
    np.testing.assert_allclose(make(image[:, order].reshape(1, 40, 5), np.ones((1, 40, 5))), first, atol=1e-7)


@pytest.mark.parametrize("soft", [False, True])
def test_a_shift_by_one_bin_shifts_the_histogram_by_one_bin(soft: bool) -> None:
    image, region = np.clip(ct(), -100, 100), masks((12, 10, 8))
    make = RegionHistogram(100, (-200, 250), soft=soft)
    np.testing.assert_allclose(make(image + 4.5, region)[..., 1:], make(image, region)[..., :-1], atol=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_slices_weighted_by_their_voxels_give_the_volume(soft: bool) -> None:
    image, regions = np.clip(ct(channels=2), -200, 250), masks((12, 10, 8), 3)
    regions[1, :, :, 4] = False
    slices = RegionHistogram(20, soft=soft, slice_axis=2)(image, regions)
    assert tuple(slices.shape) == (8, 3, 2, 20)
    weight = regions.sum(axis=(1, 2)).T / regions.sum(axis=(1, 2, 3))
    whole = (np.asarray(slices) * weight[:, :, None, None]).sum(0)
    np.testing.assert_allclose(whole, RegionHistogram(20, soft=soft)(image, regions), atol=1e-6)
    assert region_valid(slices)[4].tolist() == [[True, True], [False, False], [True, True]]


def test_soft_bins_keep_the_mean_and_sum_to_one() -> None:
    image = torch.rand(1, 20, 20, dtype=torch.float64) * 8 + 1
    found = RegionHistogram(10, (0, 10), soft=True)(image, np.ones((1, 20, 20)))
    assert found.dtype == torch.float64
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)
    assert float((found[0, 0] * (torch.arange(10) + 0.5)).sum()) == pytest.approx(float(image.mean()), abs=1e-12)


def test_soft_bins_have_exact_gradients() -> None:
    image = (torch.rand(2, 4, 5, dtype=torch.float64) * 12 - 1).requires_grad_()
    make = RegionHistogram(6, (0, 10), soft=True, slice_axis=0)
    assert torch.autograd.gradcheck(lambda t: make(t, masks((4, 5))).as_tensor(), (image,))


def test_an_empty_region_is_flagged_and_not_a_histogram() -> None:
    sample = {"image": IMAGE, "label": LABEL}
    result = RegionHistogramd("image", "label", 2, (0, 4), labels=[1, 5])(sample)
    assert result["image_histogram_valid"].tolist() == [[True], [False]]
    assert result["image_histogram"][1].sum() == 0
