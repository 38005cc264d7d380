"""GuideMap: prompts drawn as maps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, Spacingd, SpatialCropd
from scipy.ndimage import distance_transform_edt

from medseg.geometry import voxel_to_world
from medseg.ops import geodesic_distance
from medseg.transforms import GuideMap, GuideMapd
from tests.transforms._menu import AFFINE, MenuCase, TransformMenu

GENERATOR = np.random.default_rng(0)
IMAGE = GENERATOR.random((2, 12, 14)).astype(np.float32)
VOLUME = GENERATOR.random((1, 12, 14, 16)).astype(np.float32)
PROMPTS = np.array([[1, 4, 5, 2, 3], [1, 9, 9, 3, 1], [0, 0, 13, 0, 0]], dtype=np.float32)


def gauss(shape: tuple[int, ...], centre: Any, sigma: Any) -> np.ndarray:
    grid = np.indices(shape).reshape(len(shape), -1).T
    return np.exp(-0.5 * (((grid - np.asarray(centre)) / np.asarray(sigma)) ** 2).sum(1)).reshape(shape)


def ellipses() -> np.ndarray:
    first, second = gauss((12, 14), (4, 5), (2, 3)), gauss((12, 14), (9, 9), (3, 2))  # 1 is raised to 2
    return np.stack([np.maximum(first, second), gauss((12, 14), (0, 13), (2, 2))])


class TestGuideMap(TransformMenu):
    case = MenuCase(
        array=lambda: GuideMap("ellipse"),
        dictionary=lambda: GuideMapd("image", "prompts", "ellipse"),
        data={"image": IMAGE, "prompts": PROMPTS},
        expected=ellipses(),
        second=("prompts",),
        output="image_guide",
        errors=(
            (lambda: GuideMap("blob"), "kind is 'blob', expected one of gauss, ellipse, disc"),
            (lambda: GuideMap("gauss"), "sigma is None, expected a positive number for kind 'gauss'"),
            (lambda: GuideMap("edt"), "max_distance is None, expected a positive number for kind 'edt'"),
            (lambda: GuideMap("disc", sigma=(1, 0)), r"sigma is \(1, 0\), expected positive numbers"),
            (lambda: GuideMap("gauss", 1, unit="cm"), "unit is 'cm', expected one of mm, voxel"),
            (lambda: GuideMap("gauss", 1, frame="ras"), "frame is 'ras', expected 'voxel', 'RAS'"),
            (lambda: GuideMap("gauss", 1, channels="fg"), "channels is 'fg'; expected a list of texts"),
            (lambda: GuideMap("gauss", 1, value_range=(0,)), r"value_range is \(0,\), expected two numbers"),
            (
                lambda: GuideMap("gauss", (1, 2, 3))(IMAGE, PROMPTS),
                "sigma has 3 numbers, expected 1 or one for each of",
            ),
            (lambda: GuideMap("gauss", 1)(VOLUME, PROMPTS), r"prompts have shape \(3, 5\), expected \(N, 7\)"),
            (lambda: GuideMap("gauss", 1)(IMAGE, 2 * PROMPTS), "prompts hold class 2, expected 1"),
            (
                lambda: GuideMap("gauss", 1)(IMAGE, PROMPTS - [0, 0, 0, 1, 0]),
                "prompts hold values that are not finite or",
            ),
            (lambda: GuideMap("gauss", 1)(IMAGE[0], PROMPTS), r"image has shape \(12, 14\), expected \(C, \*spatial\)"),
            (
                lambda: GuideMap("gauss", 1, "mm")(IMAGE, PROMPTS),
                "image is a ndarray without spacing, expected a MetaTe",
            ),
            (lambda: GuideMap("gauss", 1, frame="RAS")(IMAGE, PROMPTS), "without an affine, expected a MetaTensor"),
            (lambda: GuideMapd("image", "prompts", "gauss", 1, postfix=""), "postfix is ''"),
        ),
    )


def click(*centre: float, kind: int = 1) -> np.ndarray:
    return np.array([[kind, *centre, *[0] * len(centre)]], dtype=np.float64)


def drawn(transform: GuideMap, image: Any, prompts: np.ndarray) -> np.ndarray:
    return np.asarray(transform(image, prompts))


def test_a_click_is_e_to_the_minus_half_at_distance_sigma() -> None:
    found = drawn(GuideMap("gauss", 3.0, channels=["fg"]), VOLUME, click(5, 6, 7))
    assert found[0, 5, 6, 7] == 1
    np.testing.assert_allclose([found[0, 8, 6, 7], found[0, 5, 3, 7], found[0, 5, 6, 10]], math.exp(-0.5), rtol=1e-6)
    np.testing.assert_allclose(found[0], gauss((12, 14, 16), (5, 6, 7), 3.0), atol=1e-6)


@pytest.mark.parametrize("sigma", [0.7, (2.0, 1.0, 4.0)])
def test_sigma_in_mm_is_by_the_spacing_of_the_affine(sigma: float | tuple[float, ...]) -> None:
    image = MetaTensor(torch.from_numpy(VOLUME), affine=AFFINE)  # spacing 2, 3, 5 mm
    found = drawn(GuideMap("gauss", sigma, unit="mm"), image, click(5, 6.5, 7))
    expected = gauss((12, 14, 16), (5, 6.5, 7), np.asarray(sigma) / [2, 3, 5])
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


KINDS: dict[str, dict[str, Any]] = {
    "gauss": {"sigma": 2.0},
    "ellipse": {},
    "disc": {"sigma": 2.5},
    "box": {},
    "edt": {"max_distance": 9.0},
    "geodesic": {"max_distance": 2.0},
    "exp_geodesic": {"sigma": 0.5},
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_prompt_gives_the_exact_null_map(kind: str) -> None:
    transform = GuideMap(kind, value_range=(0.5, 1.0), **KINDS[kind])
    found = drawn(transform, IMAGE, np.zeros((0, 5)))
    assert (found == (1.0 if kind in ("edt", "geodesic") else 0.5)).all()
    assert found.shape == (2, 12, 14)


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_combine_by_the_nearest_and_repeats_change_nothing(kind: str) -> None:
    transform = GuideMap(kind, channels=["fg"], **KINDS[kind])
    rows = np.array([[1, 4, 5, 2, 3], [1, 9, 9, 3, 2]], dtype=np.float64)
    first, second = drawn(transform, IMAGE, rows[:1]), drawn(transform, IMAGE, rows[1:])
    combine = np.minimum if kind in ("edt", "geodesic") else np.maximum
    np.testing.assert_allclose(drawn(transform, IMAGE, rows), combine(first, second), atol=1e-6)
    np.testing.assert_array_equal(drawn(transform, IMAGE, np.tile(rows, (3, 1))), drawn(transform, IMAGE, rows))


@pytest.mark.parametrize("kind", KINDS)
def test_channels_show_their_class_in_the_order_asked_for(kind: str) -> None:
    rows = np.array([[1, 4, 5, 2, 3], [0, 9, 9, 3, 2]], dtype=np.float64)
    both = drawn(GuideMap(kind, channels=["bg", "fg"], **KINDS[kind]), IMAGE, rows)
    swapped = rows * [-1, 1, 1, 1, 1] + [1, 0, 0, 0, 0]
    np.testing.assert_array_equal(both, drawn(GuideMap(kind, **KINDS[kind]), IMAGE, swapped * 1.0)[::1])
    assert not np.array_equal(both[0], both[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [0, 1])
def test_flips_commute_with_the_map(kind: str, axis: int) -> None:
    transform = GuideMap(kind, **KINDS[kind])
    flipped = PROMPTS.copy()
    flipped[:, 1 + axis] = IMAGE.shape[1 + axis] - 1 - flipped[:, 1 + axis]
    expected = np.flip(drawn(transform, IMAGE, PROMPTS), 1 + axis)
    found = drawn(transform, np.flip(IMAGE, 1 + axis).copy(), flipped)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_disc_holds_the_voxels_within_its_radius() -> None:
    found = drawn(GuideMap("disc", 3.0, channels=["fg"]), IMAGE, click(6, 6))
    y, x = np.indices((12, 14))
    np.testing.assert_array_equal(found[0], (y - 6) ** 2 + (x - 6) ** 2 <= 9)


def test_a_box_holds_the_voxels_within_its_half_sides() -> None:
    found = drawn(GuideMap("box", channels=["fg"]), IMAGE, np.array([[1, 4.5, 6, 2, 0.0]]))
    expected = np.zeros((12, 14))
    expected[3:7, 6] = 1
    np.testing.assert_array_equal(found[0], expected)


def test_edt_is_the_distance_in_mm_over_its_greatest() -> None:
    image = MetaTensor(torch.from_numpy(VOLUME), affine=AFFINE)
    mask = np.ones((12, 14, 16), bool)
    mask[5, 6, 7] = mask[0, 1, 15] = False
    rows = np.concatenate([click(5.4, 6, 6.6), click(0, 1, 15)])
    found = drawn(GuideMap("edt", unit="mm", max_distance=12.0, channels=["fg"]), image, rows)
    expected = np.minimum(distance_transform_edt(mask, sampling=(2, 3, 5)) / 12, 1)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["geodesic", "exp_geodesic"])
def test_geodesic_maps_are_those_of_the_op(kind: str) -> None:
    seeds = torch.zeros(1, 1, 12, 14)
    seeds[0, 0, 4, 5] = 1
    distance = geodesic_distance(torch.from_numpy(IMAGE)[None], seeds, 0.8, cost="harmonic", sweeps=2)[0, 0].numpy()
    options = {"max_distance": 0.2} if kind == "geodesic" else {"sigma": 0.3}
    transform = GuideMap(kind, weight=0.8, cost="harmonic", sweeps=2, channels=["fg"], **options)
    expected = np.minimum(distance / 0.2, 1) if kind == "geodesic" else np.exp(-distance / 0.3)
    np.testing.assert_allclose(drawn(transform, IMAGE, click(4, 5))[0], expected, atol=1e-5)


@pytest.mark.parametrize("centre", [(-1.0, 6.0), (-3.0, 6.0)])
def test_prompts_kept_outside_reach_in_as_gaussians_and_are_no_seeds(centre: tuple[float, ...]) -> None:
    outside = click(*centre)
    np.testing.assert_allclose(
        drawn(GuideMap("gauss", 2.0, outside="keep"), IMAGE, outside)[0], gauss((12, 14), centre, 2.0), atol=1e-6
    )
    assert (drawn(GuideMap("edt", max_distance=5.0, outside="keep"), IMAGE, outside) == 1).all()


@pytest.mark.parametrize("frame", ["RAS", "LPS"])
def test_world_prompts_land_on_the_right_voxel_after_the_grid_has_moved(frame: str) -> None:
    image = torch.zeros(1, 12, 14, 16)
    image[0, 7, 4, 9] = 1  # what the prompt points at
    point = voxel_to_world(np.array([7.0, 4, 9]), AFFINE.numpy(), frame)
    data = {"image": MetaTensor(image, affine=AFFINE), "prompts": np.concatenate([click(*point)])}
    moves = Compose(
        [
            Orientationd("image", "RAS", labels=None),
            Spacingd("image", (1.0, 1.5, 1.0), mode="bilinear"),
            SpatialCropd("image", roi_start=(3, 5, 4), roi_end=(22, 50, 36)),
            GuideMapd("image", "prompts", "gauss", sigma=4.0, unit="mm", frame=frame, channels=["fg"]),
        ]
    )
    result = moves(data)
    guide, marked = np.asarray(result["image_guide"])[0], np.asarray(result["image"])[0]
    assert marked.max() > 0.2
    at = np.unravel_index(guide.argmax(), guide.shape)
    assert at == np.unravel_index(marked.argmax(), marked.shape)
    expected = np.linalg.inv(result["image"].affine.numpy()) @ [*voxel_to_world([7.0, 4, 9], AFFINE.numpy(), "RAS"), 1]
    np.testing.assert_allclose(guide, gauss(guide.shape, expected[:3], np.array([4.0, 4 / 1.5, 4.0])), atol=1e-5)


def test_world_extents_follow_the_axes_of_the_image() -> None:
    image = MetaTensor(torch.zeros(1, 12, 14, 16), affine=AFFINE)  # voxel axes are x, z, y with 2, 3, 5 mm
    centre = voxel_to_world(np.array([5.0, 6, 7]), AFFINE.numpy(), "LPS")
    prompt = np.array([[1, *centre, 8.0, 15.0, 9.0]])
    found = drawn(GuideMap("ellipse", frame="LPS", min_sigma=0.1, channels=["fg"]), image, prompt)
    np.testing.assert_allclose(found[0], gauss((12, 14, 16), (5, 6, 7), (4.0, 3.0, 3.0)), atol=1e-5)
