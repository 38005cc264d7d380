"""World points land on their voxels, also after MONAI has moved, turned, scaled or cut the grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    Flip,
    Flipd,
    Invertd,
    Orientationd,
    RandAffined,
    Resized,
    Rotate90d,
    Spacingd,
    SpatialCropd,
    SpatialPadd,
)
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation

from medseg.geometry import flip_lps_ras, voxel_to_world
from medseg.transforms import VoxelToWorld, VoxelToWorldd, WorldToVoxel, WorldToVoxeld
from tests.transforms._menu import AFFINE, InvertibleMenu, MenuCase

VOXELS = np.array([[[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]], dtype=np.float32)
WORLD_LPS = np.array([[[-8.0, -5.0, 36.0], [-10.0, -20.0, 30.0]]], dtype=np.float32)
SHAPE = (40, 50, 30)
SPOT = (13, 31, 11)


class TestWorldToVoxel(InvertibleMenu):
    case = MenuCase(
        array=lambda: WorldToVoxel("LPS"),
        dictionary=lambda: WorldToVoxeld("points", "image", "LPS"),
        data={"points": WORLD_LPS, "image": np.zeros((1, 4, 5, 6))},
        expected=VOXELS,
        key="points",
        second=("image",),
        atol=1e-5,
        errors=(
            (lambda: WorldToVoxel("lps"), "frame is 'lps', expected 'RAS'"),
            (lambda: WorldToVoxeld("points", "image", "XYZ"), "frame is 'XYZ', expected 'RAS'"),
            (
                lambda: WorldToVoxel("RAS")(np.zeros((2, 4)), np.eye(4)),
                r"points have shape \(2, 4\), expected \(N",
            ),
            (
                lambda: WorldToVoxel("RAS")(WORLD_LPS, np.zeros((1, 5, 6, 7))),
                r"image is a ndarray of shape \(1, 5, 6, 7\) without an affine, expected a MetaTensor",
            ),
            (
                lambda: WorldToVoxel("RAS")(np.zeros((2, 2)), AFFINE),
                r"points have two coordinates, but the affine mixes the third axis with them \(by 0.333\)",
            ),
        ),
    )


class TestVoxelToWorld(InvertibleMenu):
    case = MenuCase(
        array=lambda: VoxelToWorld("LPS"),
        dictionary=lambda: VoxelToWorldd("points", "image", "LPS"),
        data={"points": VOXELS, "image": np.zeros((1, 4, 5, 6))},
        expected=WORLD_LPS,
        key="points",
        second=("image",),
        atol=1e-5,
        errors=(
            (lambda: VoxelToWorld("RSA"), "frame is 'RSA', expected 'RAS'"),
            (lambda: VoxelToWorldd("points", "image", ""), "frame is '', expected 'RAS'"),
            (lambda: VoxelToWorld("RAS")(np.zeros(3), np.eye(4)), r"points have shape \(3,\), expected \(N, 3\)"),
        ),
    )


def oblique_image() -> MetaTensor:
    """A smooth spot at one voxel of an oblique volume."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", (12, -8, 5), degrees=True).as_matrix() @ np.diag([-0.8, -0.9, 2.0])
    affine[:3, 3] = (30, 40, -500)
    index = np.indices(SHAPE)
    distance = sum((index[axis] - SPOT[axis]) ** 2 / width for axis, width in enumerate((18.0, 14.0, 4.0)))
    return MetaTensor(torch.from_numpy(np.exp(-distance)[None].astype(np.float32)), affine=torch.from_numpy(affine))


GRID_CHANGES = {
    "Orientation": Orientationd("image", axcodes="PIR", labels=None),
    "Spacing": Spacingd("image", pixdim=(1.1, 0.6, 1.5), mode="bilinear"),
    "SpatialCrop": SpatialCropd("image", roi_start=(4, 15, 2), roi_end=(33, 48, 25)),
    "SpatialPad": SpatialPadd("image", (60, 61, 62)),
    "Flip": Flipd("image", spatial_axis=(0, 2)),
    "Rotate90": Rotate90d("image", k=1, spatial_axes=(1, 2)),
    "Resize": Resized("image", (30, 70, 45), mode="trilinear"),
    "RandAffine": RandAffined("image", prob=1.0, rotate_range=0.2, translate_range=3, padding_mode="zeros"),
}
EVERYTHING = ["SpatialCrop", "Orientation", "Spacing", "RandAffine", "Flip"]


@pytest.mark.parametrize("lazy", [False, True], ids=["at once", "lazily"])
@pytest.mark.parametrize("names", [[name] for name in GRID_CHANGES] + [EVERYTHING], ids="+".join)
def test_world_points_land_on_the_right_voxel_after_monais_transforms(names: list[str], lazy: bool) -> None:
    image = oblique_image()
    point = voxel_to_world([SPOT], image.affine.numpy(), "LPS")
    pipeline = Compose([*[GRID_CHANGES[name] for name in names], WorldToVoxeld("point", "image", "LPS")], lazy=lazy)
    result = pipeline.set_random_state(0)({"image": image, "point": point})
    brightest = center_of_mass(np.asarray(result["image"][0]) ** 2)
    np.testing.assert_allclose(result["point"][0], brightest, atol=0.15)
    centre = np.unravel_index(np.asarray(result["image"][0]).argmax(), result["image"].shape[1:])
    assert np.abs(np.asarray(result["point"][0]) - centre).max() <= 0.6


def test_lazy_transforms_that_are_still_pending_count() -> None:
    image = oblique_image()
    point = voxel_to_world([SPOT], image.affine.numpy(), "LPS")
    lazy = Flip(spatial_axis=(0, 2), lazy=True)(image)
    assert lazy.pending_operations
    np.testing.assert_array_equal(lazy.affine, image.affine)
    expected = [SHAPE[0] - 1 - SPOT[0], SPOT[1], SHAPE[2] - 1 - SPOT[2]]
    np.testing.assert_allclose(WorldToVoxel("LPS")(point, lazy)[0], expected, atol=1e-4)


def test_voxels_of_a_moved_grid_come_back_to_the_world() -> None:
    image = oblique_image()
    point = voxel_to_world([SPOT], image.affine.numpy(), "RAS")
    pipeline = Compose(
        [
            Orientationd("image", axcodes="LSP", labels=None),
            WorldToVoxeld("point", "image", "RAS"),
            VoxelToWorldd("point", "image", "LPS"),
        ]
    )
    np.testing.assert_allclose(pipeline({"image": image, "point": point})["point"], flip_lps_ras(point), atol=1e-4)


def test_points_take_the_single_channel_form_too() -> None:
    result = WorldToVoxel("LPS")(WORLD_LPS[0], AFFINE)
    assert tuple(result.shape) == (2, 3)
    np.testing.assert_allclose(result, VOXELS[0], atol=1e-5)


def test_the_computation_is_in_double_precision() -> None:
    affine = np.diag([0.7, 0.7, 1.0, 1.0])
    affine[:3, 3] = (1e6, -1e6, 1e6)
    point = voxel_to_world([[3, 4, 5]], affine, "RAS")
    np.testing.assert_allclose(WorldToVoxel("RAS")(point, affine), [[3, 4, 5]], atol=1e-5)
    assert WorldToVoxel("RAS", dtype=np.float64)(point, affine).dtype == torch.float64


def test_an_affine_that_points_carry_has_no_influence() -> None:
    plain = WorldToVoxel("LPS")(WORLD_LPS, AFFINE)
    carried = WorldToVoxel("LPS")(MetaTensor(torch.from_numpy(WORLD_LPS), affine=torch.eye(4) * 9), AFFINE)
    np.testing.assert_array_equal(carried, plain)


def test_points_in_the_plane_of_a_two_dimensional_image() -> None:
    affine = np.diag([2.0, 3.0, 1.0, 1.0])
    affine[:2, 3] = (10, 20)
    np.testing.assert_allclose(WorldToVoxel("RAS")(np.array([[14.0, 26.0]]), affine), [[2, 2]])
    np.testing.assert_allclose(VoxelToWorld("LPS")(np.array([[2.0, 2.0]]), affine), [[-14, -26]])


def test_invertd_undoes_the_mapping() -> None:
    mapping = Compose([WorldToVoxeld("point", "image", "LPS")])
    sample = mapping({"image": oblique_image(), "point": WORLD_LPS})
    sample["pred"] = sample["point"].clone()
    result = Invertd("pred", mapping, orig_keys="point", nearest_interp=False, to_tensor=False)(sample)
    np.testing.assert_allclose(result["pred"], WORLD_LPS, atol=1e-3)


def test_a_missing_image_is_named() -> None:
    with pytest.raises(KeyError, match=r"no item 'ct' to take the affine from; found \['point'\]"):
        WorldToVoxeld("point", "ct", "LPS")({"point": WORLD_LPS})
