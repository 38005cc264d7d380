"""LBP: codes equal to scikit-image's where the circle lies inside of the mask; elsewhere there is no code."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from skimage.feature import local_binary_pattern

from medseg.transforms import LBP, LBPd, RegionHistogram
from tests.transforms._menu import MenuCase, TransformMenu

# Of the voxel 3 the right and upper neighbours are brighter, of the voxel 9 none is; the others lie at the border.
IMAGE = np.array([[[0, 5, 0, 0], [0, 3, 9, 0], [0, 0, 0, 0]]], np.float32)
METHODS = ("default", "ror", "uniform", "nri_uniform", "var")


class TestLBP(TransformMenu):
    case = MenuCase(
        array=lambda: LBP(4),
        dictionary=lambda: LBPd("image", 4),
        data={"image": IMAGE},
        expected=np.array([[[-1, -1, -1, -1], [-1, 2, 0, -1], [-1, -1, -1, -1.0]]]),
        output="image_lbp",
        errors=(
            (lambda: LBP(0), "points is 0, expected a whole number from 1 to 24"),
            (lambda: LBP(25), "points is 25, expected a whole number"),
            (lambda: LBP(radius=0), "radius is 0, expected a number of voxels above 0"),
            (lambda: LBP(method="riu2"), "method is 'riu2', expected one of default, ror, uniform"),
            (lambda: LBP(slice_axis=0)(IMAGE), "slice_axis is 0 but the image has two spatial axes, expected None"),
            (lambda: LBP()(IMAGE[None]), "slice_axis is None but the image has three spatial axes, expected 0, 1 or 2"),
            (lambda: LBP(slice_axis=3)(IMAGE[None]), "slice_axis is 3 but the image has three spatial axes"),
            (lambda: LBP()(IMAGE[0]), r"image has shape \(3, 4\), expected \(C, H, W\)"),
            (lambda: LBP()(IMAGE, IMAGE), "mask holds values other than 0 and 1"),
            (lambda: LBPd("image", postfix=""), "postfix is '', expected a text"),
        ),
    )


def ct(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.float32)


def readable(mask: np.ndarray, points: int, radius: float) -> np.ndarray:
    """Voxels of which every point reads within the mask, point by point."""
    found = mask.copy()
    for row, column in np.ndindex(mask.shape):
        for p in range(points):
            angle = 2 * math.pi * p / points
            y, x = round(-radius * math.sin(angle), 5) + row, round(radius * math.cos(angle), 5) + column
            for i, j in itertools.product({math.floor(y), math.ceil(y)}, {math.floor(x), math.ceil(x)}):
                inside = 0 <= i < mask.shape[0] and 0 <= j < mask.shape[1]
                found[row, column] &= inside and mask[i, j]
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("points", "radius"), [(8, 1), (12, 1.5), (5, 2), (24, 3)])
def test_codes_equal_scikit_image_where_the_circle_counts(method: str, points: int, radius: float) -> None:
    image, mask = ct(2, 17, 19), np.random.default_rng(1).random((1, 17, 19)) < 0.97
    codes = np.asarray(LBP(points, radius, method)(image, mask))
    expected = readable(mask[0], points, radius)
    assert 0.02 < expected.mean() < 0.9
    for channel in range(2):
        wanted = local_binary_pattern(image[channel].astype(np.int64), points, radius, method)
        np.testing.assert_allclose(codes[channel], np.where(expected, wanted, -1), rtol=1e-6)
    top = LBP(points, radius, method).codes
    assert (top is None) == (method == "var")
    assert top is None or codes.max() < top


def test_what_lies_outside_of_the_mask_changes_no_code() -> None:
    image, mask = ct(1, 20, 20), np.zeros((1, 20, 20))
    mask[0, 4:15, 3:17] = 1
    other = np.where(mask, image, -image - 3000)
    other[0, 0, 0] = np.nan
    np.testing.assert_array_equal(LBP(16, 2)(other, mask), LBP(16, 2)(image, mask))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_is_a_stack_of_slices(axis: int) -> None:
    image = ct(2, 6, 7, 8)
    codes = np.asarray(LBP(slice_axis=axis)(image))
    for n in range(image.shape[1 + axis]):
        np.testing.assert_array_equal(codes.take(n, 1 + axis), LBP()(image.take(n, 1 + axis)))


def test_codes_do_not_see_brightness_contrast_or_quarter_turns() -> None:
    image = ct(1, 15, 15)
    codes = np.asarray(LBP()(image))
    np.testing.assert_array_equal(LBP()(2 * image + 40), codes)
    np.testing.assert_array_equal(LBP()(np.rot90(image, axes=(1, 2)).copy()), np.rot90(codes, axes=(1, 2)))


def test_the_variance_is_that_of_the_points_and_zero_where_they_are_equal() -> None:
    image = ct(1, 9, 9)
    image[0, :4] = 7
    maps = np.asarray(LBP(4, method="var")(image))[0]
    around = np.stack([np.roll(image[0].astype(np.float64), s, a) for a in (0, 1) for s in (-1, 1)])
    np.testing.assert_allclose(maps[1:-1, 1:-1], around.var(0)[1:-1, 1:-1], rtol=1e-6)
    assert maps[1:3, 1:-1].max() == 0


def test_only_voxels_that_are_finite_have_codes() -> None:
    image = ct(1, 7, 7)
    image[0, 3, 3] = np.inf
    codes = np.asarray(LBP(4)(image))[0]
    assert (codes[[2, 3, 3, 3, 4], [3, 2, 3, 4, 3]] == -1).all()
    assert (codes[1:-1, 1:-1] == -1).sum() == 5


def test_whole_values_pass_without_a_warning_and_others_with_that_of_scikit_image() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LBP()(ct(1, 8, 8))
    with pytest.warns(UserWarning, match="floating-point images"):
        LBP()(ct(1, 8, 8) + 0.5)


def test_a_histogram_of_a_region_leaves_out_voxels_without_a_code() -> None:
    image, make = ct(1, 12, 12), LBP()
    assert make.codes == 10
    shares = RegionHistogram(10, (-0.5, 9.5))(make(image), np.ones((1, 12, 12)))[0, 0]
    wanted = local_binary_pattern(image[0].astype(int), 8, 1, "uniform")[1:-1, 1:-1].astype(int)
    np.testing.assert_allclose(shares, np.bincount(wanted.ravel(), minlength=10) / 100, atol=1e-7)
    assert isinstance(shares, torch.Tensor)
