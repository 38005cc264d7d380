"""LocalGLCM: grey levels, offsets in mm and masks around the op."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from skimage.feature import graycomatrix, graycoprops

from medseg.transforms import LocalGLCM, LocalGLCMd, glcm_offsets
from tests.transforms._menu import MenuCase, TransformMenu

STRIPES = np.tile(np.array([-150.0, 100, -150, 100], np.float32), (1, 3, 1))  # levels 0 and 2 of four


class TestLocalGLCM(TransformMenu):
    case = MenuCase(
        array=lambda: LocalGLCM(3, 4, (-200, 200), features=("contrast", "correlation"), skip_axis=0),
        dictionary=lambda: LocalGLCMd("image", 3, 4, (-200, 200), features=("contrast", "correlation"), skip_axis=0),
        data={"image": STRIPES},
        expected=np.stack([np.full((3, 4), 9.0), np.full((3, 4), -1.0)]),
        output="image_glcm_maps",
        errors=(
            (lambda: LocalGLCM(levels=1), "levels is 1, expected 2 to 1024"),
            (lambda: LocalGLCM(value_range=(3, 3)), "expected two numbers, the lower one first"),
            (lambda: LocalGLCM(distances=()), r"distances is \(\), expected at least one number above 0"),
            (lambda: LocalGLCM(unit="cm"), "unit is 'cm', expected 'voxel' or 'mm'"),
            (lambda: LocalGLCM(features=["mean"]), "feature 'mean' is unknown; expected some of contrast, "),
            (lambda: LocalGLCM(unit="mm")(STRIPES), "image is a ndarray without spacing, expected a MetaTensor"),
            (lambda: LocalGLCM(distances=[0.3])(STRIPES), r"distance 0.3 is below half a voxel of \(1.0, 1.0\)"),
            (lambda: LocalGLCM(3, distances=[3])(STRIPES), r"offset is \[0, 3\]; expected 2 steps"),
            (lambda: LocalGLCM(skip_axis=2)(STRIPES), "skip_axis is 2, expected 0 to 1 for this image"),
            (lambda: LocalGLCM()(STRIPES[0]), r"image has shape \(3, 4\), expected \(C, H, W\)"),
            (lambda: LocalGLCMd("image", postfix=""), "postfix is '', expected a text"),
        ),
    )


@pytest.mark.parametrize("distance", [1, 2, 3, 5])
def test_offsets_are_those_of_scikit_image(distance: int) -> None:
    # A single bright voxel pairs with exactly those that a matrix of scikit-image finds.
    angles = [0, math.pi / 4, math.pi / 2, 3 * math.pi / 4]
    ours = {frozenset((o, tuple(-v for v in o))) for o in glcm_offsets([distance], (1, 1))}
    theirs = [(round(math.sin(a) * distance), round(math.cos(a) * distance)) for a in angles]
    assert ours == {frozenset((o, tuple(-v for v in o))) for o in theirs}
    image = np.arange(144, dtype=np.uint8).reshape(12, 12)
    for angle, (row, column) in zip(angles, theirs, strict=True):
        i, j = np.nonzero(graycomatrix(image, [distance], [angle], levels=144)[:, :, 0, 0])
        assert set(j.astype(int) - i.astype(int)) == {12 * row + column}


def test_offsets_in_millimetres_step_over_fewer_thick_slices() -> None:
    assert len(glcm_offsets([1], (1, 1, 1))) == 13
    assert len(glcm_offsets([1], (1, 1, 1), skip_axis=2)) == 4
    found = glcm_offsets([2.0], (0.7, 0.7, 5.0))
    assert set(found) == {(0, 3, 0), (3, 0, 0), (2, 2, 0), (2, -2, 0), (0, 2, 0), (2, 0, 0)}
    image = np.random.default_rng(0).normal(0, 100, (1, 14, 15)).astype(np.float32)
    tensor = MetaTensor(torch.from_numpy(image), affine=torch.diag(torch.tensor([-0.5, 0.5, 4.0, 1.0])))
    in_mm = LocalGLCM(7, distances=(1.0,), unit="mm")(tensor)
    np.testing.assert_array_equal(in_mm, LocalGLCM(7, distances=(2.0,))(image))


def test_a_window_of_a_ct_equals_scikit_image() -> None:
    image = np.random.default_rng(1).integers(-300, 350, (1, 20, 20))
    maps = LocalGLCM(9, 16, (-200, 250), features=("contrast", "energy"))(image)
    levels = np.clip((image[0] + 200) * 16 // 450, 0, 15).astype(np.uint8)[3:12, 6:15]
    p = graycomatrix(
        levels, [1], [0, math.pi / 4, math.pi / 2, 3 * math.pi / 4], levels=16, symmetric=True, normed=True
    )
    wanted = [graycoprops(p, name).mean() for name in ("contrast", "energy")]
    np.testing.assert_allclose(maps[:, 7, 10], wanted, rtol=1e-5)


def test_the_mask_keeps_what_surrounds_a_lesion_out() -> None:
    random = np.random.default_rng(2)
    image, mask = random.normal(0, 80, (1, 16, 16)), np.zeros((1, 16, 16), bool)
    mask[0, 4:11, 5:12] = True
    other = np.where(mask, image, 1000.0)
    first, second = (LocalGLCMd("i", 5, mask_key="m")({"i": i, "m": mask})["i_glcm_maps"] for i in (image, other))
    np.testing.assert_array_equal(first, second)


def test_without_quantising_the_maps_can_be_trained_through() -> None:
    image = (torch.rand(1, 8, 8) * 300 - 100).requires_grad_()
    LocalGLCM(5, quantise=False)(image).square().sum().backward()
    assert image.grad.abs().sum() > 0
    whole = LocalGLCM(5, 450, (-200.5, 249.5))(image.detach().round())
    np.testing.assert_allclose(
        LocalGLCM(5, 450, (-200.5, 249.5), quantise=False)(image.detach().round()), whole, rtol=1e-4
    )
