"""Boxes by the edges of their voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medseg.geometry import VoxelBox, WorldBox, box_to_voxel, box_to_world, make_affine, voxel_to_world
from tests.geometry.test_orientation import ALL_CODES

index = st.integers(-20, 500)


def test_a_single_voxel_is_a_box_of_its_spacing_around_its_centre() -> None:
    affine = make_affine((2, 3, 5), (10, 20, 30), "LSP")
    box = box_to_world(VoxelBox((1, 2, 3), (2, 3, 4)), affine, "RAS")
    np.testing.assert_allclose(box.lower_mm, [8 - 1, 5 - 2.5, 36 - 1.5])
    np.testing.assert_allclose(box.upper_mm, [8 + 1, 5 + 2.5, 36 + 1.5])
    other = box_to_world(VoxelBox((1, 2, 3), (2, 3, 4)), affine, "LPS")
    np.testing.assert_allclose(other.lower_mm, [-9, -7.5, 34.5])


@settings(deadline=None)
@given(st.sampled_from(ALL_CODES), st.tuples(index, index, index), st.tuples(*[st.integers(1, 300)] * 3), st.booleans())
def test_without_oblique_axes_the_round_trip_is_exact(
    codes: str, start: tuple[int, int, int], size: tuple[int, int, int], lps: bool
) -> None:
    affine, frame = make_affine((0.703125, 0.9, 2.5), (-31.7, 212.3, 55.1), codes), "LPS" if lps else "RAS"
    box = VoxelBox(start, tuple(a + b for a, b in zip(start, size, strict=True)))
    assert box_to_voxel(box_to_world(box, affine, frame), affine, frame) == box


def test_with_oblique_axes_the_box_holds_every_corner_and_the_block_comes_back_larger() -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (20, 30, 40), degrees=True).as_matrix()
    box = VoxelBox((3, 4, 5), (8, 6, 9))
    world = box_to_world(box, affine, "RAS")
    random = np.random.default_rng(0).uniform(np.subtract(box.start, 0.5), np.subtract(box.stop, 0.5), (200, 3))
    inside = voxel_to_world(random, affine, "RAS")
    assert np.all((inside >= world.lower_mm) & (inside <= world.upper_mm))
    back = box_to_voxel(world, affine, "RAS")
    assert np.all(np.array(back.start) <= box.start)
    assert np.all(np.array(back.stop) >= box.stop)


def test_a_box_is_an_index_of_an_array() -> None:
    array = np.arange(60).reshape(3, 4, 5)
    assert array[VoxelBox((1, 1, 2), (3, 2, 5)).slices].shape == (2, 1, 3)


def test_empty_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"box \(1, 2, 3\) to \(1, 4, 5\) holds no voxel"):
        box_to_world(VoxelBox((1, 2, 3), (1, 4, 5)), np.eye(4), "RAS")
    with pytest.raises(ValueError, match="is empty, expected upper_mm above lower_mm"):
        box_to_voxel(WorldBox(np.zeros(3), np.array([1.0, 0.0, 1.0])), np.eye(4), "RAS")
