"""ClickPatches: squares around clicks, averaged to one size, in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.geometry import voxel_to_world
from medseg.transforms import ClickPatches, ClickPatchesd
from tests.transforms._menu import AFFINE, MenuCase, TransformMenu

IMAGE = np.arange(48, dtype=np.float32).reshape(1, 6, 8)
CLICK = np.array([[1, 2, 3, 0, 0], [0, 5, 5, 0, 0]], np.float32)


class TestClickPatches(TransformMenu):
    case = MenuCase(
        array=lambda: ClickPatches((2, 4), 2),
        dictionary=lambda: ClickPatchesd("image", "prompts", (2, 4), 2),
        data={"image": IMAGE, "prompts": CLICK},
        # rows 1, 2 and columns 2, 3; then the means of 2 x 2 voxels of rows 0 to 3 and columns 1 to 4
        expected=np.array([[[10, 11], [18, 19]], [[5.5, 7.5], [21.5, 23.5]]]),
        second=("prompts",),
        output="image_patches",
        beside=("image_patches_valid",),
        errors=(
            (lambda: ClickPatches((16, 32), 32), r"sides is \(16, 32\), size 32; expected sides of at least the size"),
            (lambda: ClickPatches((), 1), r"sides is \(\), size 1"),
            (lambda: ClickPatches(frame="ijk"), "frame is 'ijk', expected 'voxel', 'RAS'"),
            (lambda: ClickPatches((2,), 2)(IMAGE, CLICK[:, :4]), r"prompts have shape \(2, 4\), expected \(N, 5\)"),
            (lambda: ClickPatches((2,), 2)(IMAGE[0], CLICK), r"image has shape \(6, 8\), expected \(C, H, W\)"),
            (lambda: ClickPatchesd("image", "prompts", postfix=""), "postfix is '', expected a text"),
        ),
    )


def test_beyond_the_image_its_border_is_repeated() -> None:
    corner = ClickPatches((4,), 4)(IMAGE, np.array([[1, 0, 7, 0, 0]], np.float32))
    expected = np.pad(IMAGE[0], 2, mode="edge")[0:4, 7:11]
    np.testing.assert_array_equal(corner[0], expected)


def test_several_clicks_give_the_mean_of_their_patches_and_none_gives_zeros() -> None:
    make, image = ClickPatchesd("image", "prompts", (3, 6), 3), np.random.default_rng(0).random((2, 9, 9, 9))
    clicks = np.array([[1, 2, 3, 4, 0, 0, 0], [1, 6, 5, 4, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0]], np.float32)
    both, first, second, none = (make({"image": image, "prompts": clicks[rows]}) for rows in ([0, 1, 2], [0], [1], [2]))
    assert both["image_patches"].shape == (2 * 2, 3, 3, 3)
    torch.testing.assert_close(both["image_patches"], (first["image_patches"] + second["image_patches"]) / 2)
    assert bool(both["image_patches_valid"]) and not bool(none["image_patches_valid"])
    assert not none["image_patches"].any()


@pytest.mark.parametrize("side", [5, 6])
def test_a_patch_has_its_click_in_the_middle(side: int) -> None:
    image = np.zeros((1, 20, 20), np.float32)
    image[0, 9, 12] = 1
    found = ClickPatches((side,), side)(image, np.array([[1, 9.2, 11.6, 0, 0]], np.float32))
    assert np.argwhere(np.asarray(found[0])).tolist() == [[side // 2, side // 2]]


def test_clicks_in_the_world_mark_the_same_voxels() -> None:
    volume = MetaTensor(torch.rand(1, 8, 9, 10), affine=AFFINE)
    click = np.array([[1, 3, 4, 5, 0, 0, 0]], np.float32)
    moved = click.copy()
    moved[:, 1:4] = voxel_to_world(click[:, 1:4], AFFINE.numpy(), "RAS")
    expected = ClickPatches((4,), 2)(volume, click)
    torch.testing.assert_close(ClickPatches((4,), 2, frame="RAS")(volume, moved).as_tensor(), expected.as_tensor())
