"""BorderWeightMap: weights in closed form and against a literal evaluation object by object."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import distance_transform_edt

from medseg.transforms import BorderWeightMap, BorderWeightMapd
from tests.transforms._menu import MenuCase, TransformMenu

# Two objects with a gap of three voxels in a row of eight voxels, beside an empty row far too long for a third one.
ROW = np.array([[[1, 0, 0, 0, 1, 1, 0, 0]]], dtype=np.uint8)
NEAREST = np.array([0, 1, 2, 1, 0, 0, 1, 2.0])
SECOND = np.array([4, 3, 2, 3, 4, 5, 6, 7.0])
EXPECTED = (8 / (2 * np.where(ROW, 3, 5)) + 10 * np.exp(-((NEAREST + SECOND) ** 2) / 50)).astype(np.float64)


class TestBorderWeightMap(TransformMenu):
    case = MenuCase(
        array=BorderWeightMap,
        dictionary=lambda: BorderWeightMapd("label"),
        data={"label": ROW},
        expected=EXPECTED,
        key="label",
        output="label_weight",
        errors=(
            (lambda: BorderWeightMap(w0=-1), "w0 is -1 and sigma 5.0, expected w0 from 0 and sigma above 0"),
            (lambda: BorderWeightMap(sigma=0), "w0 is 10.0 and sigma 0, expected"),
            (lambda: BorderWeightMap(objects="cells"), "objects is 'cells', expected 'components' or 'instances'"),
            (lambda: BorderWeightMap(unit="cm"), "unit is 'cm', expected 'voxel' or 'mm'"),
            (lambda: BorderWeightMap(class_weights="even"), "class_weights is 'even', expected None, 'balanced' or"),
            (lambda: BorderWeightMap(class_weights=[1, -1]), r"class_weights is \[1, -1\], expected None"),
            (lambda: BorderWeightMapd("label", postfix=""), "postfix is '', expected a text such as '_weight'"),
            (lambda: BorderWeightMapd("label")({"label": ROW, "label_weight": 0}), "'label_weight' exists already"),
            (lambda: BorderWeightMap(class_weights=[1])(ROW), "label holds class 1, but class_weights has 1 entries"),
            (lambda: BorderWeightMap()(ROW[0]), r"label has shape \(1, 8\), expected one channel \(1, \*spatial\)"),
            (
                lambda: BorderWeightMap()(np.full((1, 2, 2), 0.5)),
                r"label contains 0.5 at \[0, 0, 0\], expected whole numbers",
            ),
            (
                lambda: BorderWeightMap()(np.full((1, 2, 2), -1)),
                "label contains -1, expected a label map of whole numbers",
            ),
            (lambda: BorderWeightMap(unit="mm")(ROW), "label is a ndarray without spacing, expected a MetaTensor"),
        ),
    )


def literal(objects: np.ndarray, w0: float, sigma: float, spacing: tuple[float, ...]) -> np.ndarray:
    """The border term by a distance transform of every object over the whole image."""
    numbers = [n for n in np.unique(objects) if n]
    distances = np.stack([distance_transform_edt(objects != n, sampling=spacing) for n in numbers])
    nearest = np.sort(distances, axis=0)
    return w0 * np.exp(-((nearest[0] + nearest[1]) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("shape", [(60, 70), (20, 24, 28)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("sigma", [0.7, 2.0, 40.0])
def test_random_instances_agree_with_the_literal_formula(shape: tuple[int, ...], sigma: float) -> None:
    random = np.random.default_rng(0)
    objects = np.zeros(shape, np.int32)
    for number in (3, 4, 9, 20, 21):
        corner = [int(random.integers(0, n - 6)) for n in shape]
        objects[tuple(slice(c, c + int(random.integers(1, 7))) for c in corner)] = number
    result = BorderWeightMap(7.0, sigma, None, objects="instances")(objects[None])
    np.testing.assert_allclose(result[0], 1 + literal(objects, 7.0, sigma, (1.0,) * len(shape)), atol=2e-6, rtol=1e-5)


def test_distances_in_millimetres_follow_the_spacing() -> None:
    objects = np.zeros((12, 14, 6), np.uint8)
    objects[2:4, 3:5, 1], objects[8:10, 3:9, 2:5] = 1, 2
    affine = torch.diag(torch.tensor([-0.7, 0.8, 2.5, 1.0], dtype=torch.float64))
    label = MetaTensor(torch.from_numpy(objects[None]), affine=affine)
    result = BorderWeightMap(5.0, 3.0, None, objects="instances", unit="mm")(label)
    np.testing.assert_allclose(result[0], 1 + literal(objects, 5.0, 3.0, (0.7, 0.8, 2.5)), rtol=1e-5)


def test_components_of_one_class_are_objects_of_their_own() -> None:
    label = np.zeros((1, 20, 20), np.uint8)
    label[0, 2:6, 2:6], label[0, 2:6, 9:12], label[0, 12:15, 4:9] = 1, 1, 2
    numbered = label[0].astype(int) + 2 * (np.arange(20) >= 9) * (label[0] == 1)
    assert len(np.unique(numbered)) == 4
    result = BorderWeightMap(class_weights=None)(label)
    np.testing.assert_allclose(result[0], 1 + literal(numbered, 10.0, 5.0, (1.0, 1.0)), rtol=1e-5)


def test_the_middle_of_a_narrower_gap_weighs_more() -> None:
    def middle(gap: int) -> float:
        row = np.ones((1, 1, 40), np.uint8)
        row[0, 0, 15 : 15 + gap] = 0
        return float(BorderWeightMap(class_weights=None)(row)[0, 0, 15 + gap // 2])

    weights = [middle(gap) for gap in (1, 3, 5, 9, 15)]
    assert all(a > b for a, b in pairwise(weights))
    assert weights[0] == pytest.approx(1 + 10 * np.exp(-4 / 50), rel=1e-6)


def test_touching_instances_have_the_full_weight_at_their_border() -> None:
    label = np.repeat([[[3, 3, 3, 8, 8, 8]]], 4, axis=1)
    result = BorderWeightMap(10.0, 2.0, None, objects="instances")(label)
    np.testing.assert_allclose(result[0, 0, 2:4], 1 + 10 * np.exp(-1 / 8), rtol=1e-6)


def test_one_object_or_none_has_no_border_term() -> None:
    for label in (np.zeros((1, 5, 6)), np.pad(np.ones((1, 2, 2)), ((0, 0), (3, 3), (3, 3)))):
        np.testing.assert_array_equal(BorderWeightMap(class_weights=None)(label), np.ones(label.shape))


def test_balanced_weights_have_mean_one_and_equal_sums() -> None:
    label = np.random.default_rng(0).choice([0, 1, 3], p=[0.9, 0.08, 0.02], size=(1, 30, 40))
    weights = np.asarray(BorderWeightMap(w0=0.0)(label))
    assert weights.mean() == pytest.approx(1.0, rel=1e-5)
    sums = [weights[label == value].sum() for value in (0, 1, 3)]
    np.testing.assert_allclose(sums, label.size / 3, rtol=1e-4)


def test_given_weights_are_taken_by_class_and_instances_are_one_class() -> None:
    label = np.array([[[0, 1, 2]]])
    np.testing.assert_allclose(BorderWeightMap(0.0, class_weights=[1, 20, 3])(label), [[[1, 20, 3]]])
    np.testing.assert_allclose(BorderWeightMap(0.0, class_weights=[1, 20], objects="instances")(label), [[[1, 20, 20]]])


def test_the_background_alone_can_carry_the_border_term() -> None:
    everywhere = np.asarray(BorderWeightMap(class_weights=None)(ROW))
    background = np.asarray(BorderWeightMap(class_weights=None, background_only=True)(ROW))
    np.testing.assert_array_equal(background, np.where(ROW, 1.0, everywhere))
    assert everywhere[0, 0, 0] > 1
