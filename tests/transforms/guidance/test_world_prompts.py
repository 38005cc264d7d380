"""Prompts in world millimetres stay on what they point at, whatever MONAI does to the grid in between."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    Flip,
    Flipd,
    Orientationd,
    RandAffined,
    Rotate90d,
    Spacing,
    Spacingd,
    SpatialCropd,
    SpatialPadd,
)
from monai.transforms.lazy.functional import apply_pending
from scipy.spatial.transform import Rotation

from medseg.geometry import apply_affine, flip_lps_ras, voxel_to_world
from medseg.transforms import (
    BorderWeightMap,
    GeodesicDistance,
    GuideMap,
    GuideMapd,
    LocalGLCM,
    SimulatePrompts,
    SimulatePromptsd,
    read_prompts,
)

SHAPE = (34, 40, 26)
CENTRE, AXES = np.array([15.0, 21.0, 12.0]), np.array([7.0, 9.0, 5.0])
SPACING = np.array([0.9, 0.8, 2.0])


def affine(signs: Sequence[float] = (1, 1, 1), order: Sequence[int] = (0, 1, 2), angles: Any = (0, 0, 0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() @ np.diag(signs)[:, order]
    matrix[:3, :3] *= SPACING
    matrix[:3, 3] = (30, -40, 500)
    return matrix


AFFINES = {
    "RAS": affine(),
    "LPS": affine((-1, -1, 1)),
    "mirrored": affine((-1, 1, 1)),
    "permuted": affine((-1, 1, -1), (2, 0, 1)),
    "oblique": affine((-1, -1, 1), angles=(20, -10, 8)),
    "oblique and mirrored": affine((1, -1, 1), (1, 0, 2), (-12, 25, 40)),
}
WITHOUT_RESAMPLING = {
    "Orientation": Orientationd(["image", "label"], "PIR", labels=None),
    "Flip": Flipd(["image", "label"], spatial_axis=(0, 2)),
    "Rotate90": Rotate90d(["image", "label"], spatial_axes=(1, 2)),
    "SpatialCrop": SpatialCropd(["image", "label"], roi_start=(4, 9, 3), roi_end=(30, 38, 22)),
    "SpatialPad": SpatialPadd(["image", "label"], (40, 45, 41)),
}
RESAMPLING = {
    "Spacing": [Spacingd(["image", "label"], (1.1, 0.7, 1.3), mode=("bilinear", "nearest"))],
    "RandAffine": [  # turns voxels: only cubes stay what they are
        Spacingd(["image", "label"], (0.9, 0.9, 0.9), mode=("bilinear", "nearest")),
        RandAffined(["image", "label"], prob=1, rotate_range=0.2, translate_range=2, mode=("bilinear", "nearest")),
    ],
}
MOVES = {
    **{name: [move] for name, move in WITHOUT_RESAMPLING.items()},
    **RESAMPLING,
    "all of them": [
        *(WITHOUT_RESAMPLING[name] for name in ("Orientation", "SpatialCrop", "Flip")),
        *RESAMPLING["RandAffine"],
        WITHOUT_RESAMPLING["Rotate90"],
    ],
}


def sample(name: str) -> dict[str, Any]:
    """An ellipsoid as image and label."""
    distance = (((np.indices(SHAPE).T - CENTRE) / AXES) ** 2).sum(-1).T
    volume = (distance <= 1)[None]
    matrix = torch.from_numpy(AFFINES[name])
    values = {"image": volume.astype(np.float32), "label": volume.astype(np.uint8)}
    return {key: MetaTensor(torch.from_numpy(array), affine=matrix) for key, array in values.items()}


def distance_mm(image: MetaTensor, point_ras: np.ndarray) -> np.ndarray:
    """Distance in mm of every voxel of an image to a point: the oracle, which knows the affine alone."""
    places = apply_affine(np.asarray(image.affine), np.moveaxis(np.indices(image.shape[1:]), 0, -1))
    return np.linalg.norm(places - point_ras, axis=-1)


@pytest.mark.parametrize("frame", ["RAS", "LPS"])
@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("grid", AFFINES)
def test_a_world_click_is_drawn_where_its_millimetres_say(grid: str, moves: str, frame: str) -> None:
    data = sample(grid)
    point = voxel_to_world(CENTRE, AFFINES[grid], "RAS")
    click = point if frame == "RAS" else flip_lps_ras(point)
    data["prompts"] = np.array([[1, *click, 0, 0, 0]])
    draw = [
        GuideMapd("image", "prompts", "gauss", 6.0, "mm", frame, ["fg"]),
        GuideMapd("image", "prompts", "disc", 6.0, "mm", frame, ["fg"], postfix="_disc"),
    ]
    result = Compose([*MOVES[moves], *draw]).set_random_state(0)(data)
    away = distance_mm(result["image"], point)
    np.testing.assert_allclose(result["image_guide"][0], np.exp(-0.5 * (away / 6) ** 2), atol=2e-5)
    clear = np.abs(away - 6) > 1e-3
    np.testing.assert_array_equal(np.asarray(result["image_disc"][0])[clear], (away <= 6)[clear])
    label = np.asarray(result["label"][0]) > 0
    assert label[np.unravel_index(away.argmin(), away.shape)], "the click is still in the organ"


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("grid", AFFINES)
def test_simulated_world_prompts_follow_their_organ(grid: str, moves: str) -> None:
    frame = "LPS"
    exact = {"centre_jitter": 0.0, "sigma_jitter": 1.0}
    users = [
        SimulatePromptsd("label", "ellipse_mid_slice", frame, options=exact, postfix="_ellipse"),
        SimulatePromptsd("label", "clicks_dins", frame, options={"margin": 2.0}, postfix="_clicks"),
    ]
    draw = [
        GuideMapd("image", "label_ellipse", "ellipse", frame=frame, channels=["fg"], min_sigma=0.1),
        GuideMapd("image", "label_clicks", "edt", max_distance=9.0, frame=frame, channels=["fg"], postfix="_clicks"),
    ]
    result = Compose([*users, *MOVES[moves], *draw]).set_random_state(0)(sample(grid))
    label, guide = np.asarray(result["label"][0]) > 0, np.asarray(result["image_guide"][0])
    away = distance_mm(result["image"], voxel_to_world(CENTRE, AFFINES[grid], "RAS"))
    assert away.flat[guide.argmax()] < 1.0, "the ellipse is about the middle"
    found = np.asarray(result["image_clicks"][0]) == 0
    assert found.any()
    assert label[found].all()


KINDS: dict[str, dict[str, Any]] = {
    "gauss": {"sigma": 3.0},
    "ellipse": {},
    "disc": {"sigma": 3.0},
    "box": {},
    "edt": {"max_distance": 20.0},
    "geodesic": {"max_distance": 3.0},
    "exp_geodesic": {"sigma": 0.5},
}


CHANGES_PATHS = {(kind, move) for kind in ("geodesic", "exp_geodesic") for move in ("SpatialCrop", "SpatialPad")}


@pytest.mark.parametrize(("kind", "move"), sorted(set(itertools.product(KINDS, WITHOUT_RESAMPLING)) - CHANGES_PATHS))
def test_a_map_drawn_later_is_the_map_drawn_before_and_moved(kind: Any, move: str) -> None:
    data = sample("permuted")
    data["image"] = data["image"] + 0.1 * torch.rand(data["image"].shape, generator=torch.Generator().manual_seed(0))
    user = SimulatePrompts("ellipse_mid_slice", "LPS", options={"centre_jitter": 0.0, "sigma_jitter": 1.0})
    prompts, draw = user(data["label"]), GuideMap(kind, frame="LPS", channels=["fg"], **KINDS[kind])
    before = WITHOUT_RESAMPLING[move]({**data, "image": draw(data["image"], prompts)})["image"]
    later = draw(WITHOUT_RESAMPLING[move](data)["image"], prompts)
    inside = np.asarray(WITHOUT_RESAMPLING[move]({**data, "image": torch.ones_like(data["image"])})["image"]) > 0
    np.testing.assert_allclose(np.asarray(later)[inside], np.asarray(before)[inside], atol=1e-4)


def lazily_moved(data: dict[str, Any], key: str) -> MetaTensor:
    moved = Spacing((2.0, 2.0, 2.0), mode="nearest", lazy=True)(Flip(0, lazy=True)(data[key]))
    assert moved.pending_operations
    return moved


@pytest.mark.parametrize("grid", ["LPS", "oblique"])
def test_pending_lazy_transforms_move_the_map_and_not_the_prompts(grid: str) -> None:
    data = sample(grid)
    point = voxel_to_world(CENTRE, AFFINES[grid], "RAS")
    guide = GuideMap("gauss", 6.0, "mm", "RAS", ["fg"])(lazily_moved(data, "image"), np.array([[1, *point, 0, 0, 0]]))
    np.testing.assert_allclose(guide[0], np.exp(-0.5 * (distance_mm(data["image"], point) / 6) ** 2), atol=2e-5)
    moved, _ = apply_pending(guide)
    assert moved.shape != guide.shape
    np.testing.assert_allclose(moved[0], np.exp(-0.5 * (distance_mm(moved, point) / 6) ** 2), atol=0.05)


def test_whatever_is_measured_in_mm_is_of_the_voxels_at_hand() -> None:
    data = sample("RAS")
    pending = {key: lazily_moved(data, key) for key in data}
    seeds = np.zeros((1, *SHAPE))
    seeds[0, 3, 4, 5] = 1
    for transform, key, further in (
        (GeodesicDistance(weight=0.5), "image", (seeds,)),
        (BorderWeightMap(unit="mm", objects="components"), "label", ()),
        (LocalGLCM(5, distances=(1.9,), unit="mm", value_range=(0, 1), features=["contrast"]), "image", ()),
    ):
        np.testing.assert_array_equal(transform(pending[key], *further), transform(data[key], *further))
    user = SimulatePrompts("boxes", "LPS", options={"margin": 0})
    np.testing.assert_allclose(user(pending["label"]), user(data["label"]), atol=1e-4)
    assert read_prompts(user(data["label"]), 3).kind.tolist() == [1]
    assert not user(pending["label"]).pending_operations, "a table is not an image to resample"
