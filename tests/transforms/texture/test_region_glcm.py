"""RegionGLCM: vectors of regions, against scikit-image on boxes and the window op on any shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.feature import graycomatrix, graycoprops

from medseg.ops.local_glcm import FEATURES, LINEAR, local_glcm
from medseg.transforms import RegionGLCM, RegionGLCMd, glcm_offsets
from tests.transforms._menu import MenuCase, TransformMenu

STRIPES = np.tile(np.array([-150.0, 100, -150, 100], np.float32), (1, 3, 1))
LABEL = np.tile(np.array([1, 1, 1, 2], np.uint8), (1, 3, 1))


class TestRegionGLCM(TransformMenu):
    case = MenuCase(
        array=lambda: RegionGLCM(4, (-200, 200), labels=[1, 2, 3], features=("contrast", "asm"), skip_axis=0),
        dictionary=lambda: RegionGLCMd(
            "image", "label", 4, (-200, 200), labels=[1, 2, 3], features=("contrast", "asm"), skip_axis=0
        ),
        data={"image": STRIPES, "label": LABEL},
        expected=np.array([[9.0, 0.5], [0, 0], [0, 0]]),
        second=("label",),
        output="image_glcm",
        beside=("image_glcm_valid",),
        errors=(
            (lambda: RegionGLCM(levels=2000), "levels is 2000, expected 2 to 1024"),
            (lambda: RegionGLCM(features=[]), "there are no features; expected some of"),
            (lambda: RegionGLCM(labels=[[]]), r"labels is \[\[\]\], expected one label"),
            (lambda: RegionGLCM()(STRIPES, LABEL), "regions hold values other than 0 and 1"),
            (lambda: RegionGLCM(unit="mm")(STRIPES, LABEL > 1), "image is a ndarray without spacing"),
            (lambda: RegionGLCMd("image", "label", postfix=""), "postfix is '', expected a text"),
            (
                lambda: RegionGLCMd("image", "label")({"image": STRIPES, "label": LABEL, "image_glcm_valid": 0}),
                "'image_glcm_valid' exists already",
            ),
        ),
    )


def test_a_box_equals_scikit_image() -> None:
    image = np.random.default_rng(0).integers(0, 16, (1, 20, 22))
    region = np.zeros((1, 20, 22), bool)
    region[0, 3:15, 5:20] = True
    angles = [0, math.pi / 4, math.pi / 2, 3 * math.pi / 4]
    p = graycomatrix(image[0, 3:15, 5:20].astype(np.uint8), [1, 2], angles, levels=16, symmetric=True, normed=True)
    # Along the diagonals, distances 1 and 2 are the same step of one voxel.
    kept = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 2)]
    for name in ("contrast", "dissimilarity", "homogeneity", "ASM", "energy", "correlation"):
        found = RegionGLCM(16, (0, 16), (1, 2), features=name.lower())(image, region)
        wanted = np.mean([graycoprops(p, name)[place] for place in kept])
        assert float(found[0, 0]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("shape", [(11, 13), (5, 6, 7)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("mean", [False, True])
def test_any_shape_equals_a_masked_window_over_the_whole_image(shape: tuple[int, ...], mean: bool) -> None:
    random = np.random.default_rng(1)
    image, regions = random.integers(0, 8, (2, *shape)).astype(np.float64), random.random((2, *shape)) < 0.4
    found = RegionGLCM(8, (0, 8), (1, 2), mean=mean)(image, regions)
    window, offsets = [2 * s - 1 + 4 for s in shape], glcm_offsets((1, 2), [1] * len(shape))
    centre = tuple(s // 2 for s in shape)
    for r, region in enumerate(regions):
        mask = torch.from_numpy(region)[None, None]
        maps = local_glcm(torch.from_numpy(image)[None], window, offsets, 8, FEATURES, mask, mean)
        np.testing.assert_allclose(found[r], maps[(0, slice(None), *centre)], rtol=1e-9, atol=1e-9)


def test_linear_features_have_exact_gradients() -> None:
    image = torch.rand(1, 5, 6, dtype=torch.float64) * 4
    region = torch.rand(2, 5, 6) < 0.7
    make = RegionGLCM(4, (-1, 5), features=LINEAR, quantise=False)
    assert torch.autograd.gradcheck(lambda t: make(t, region).as_tensor(), (image.requires_grad_(),), rtol=1e-3)


def test_a_region_without_a_pair_is_flagged_and_one_without_contrast_is_not() -> None:
    image, label = np.zeros((2, 4, 5), np.float32), np.zeros((1, 4, 5), np.uint8)
    label[0, :2, :2], label[0, 3, 4] = 1, 2
    image[1, :2, :2] = np.nan
    make = RegionGLCMd("image", "label", 4, (-1, 1), labels=[1, 2, 3], features="contrast")
    result = make({"image": image, "label": label})
    np.testing.assert_array_equal(result["image_glcm"], np.zeros((3, 2)))
    assert result["image_glcm_valid"].tolist() == [[True, False], [False, False], [False, False]]


def test_flags_tell_the_offsets_apart_that_have_a_pair() -> None:
    row = np.zeros((1, 3, 6), bool)
    row[0, 1, 1:4] = True
    offsets = glcm_offsets((1, 2, 3), [1, 1], skip_axis=0)
    vectors, valid = RegionGLCM(4, distances=(1, 2, 3), mean=False, skip_axis=0).with_validity(row * 50.0, row)
    assert offsets == [(0, 1), (0, 2), (0, 3)]
    assert valid.tolist() == [[True, True, False]]
    assert tuple(vectors.shape) == (1, 3 * len(FEATURES))
    assert RegionGLCM(distances=(1, 2, 3), skip_axis=0).with_validity(row * 50.0, row)[1].tolist() == [[True]]
