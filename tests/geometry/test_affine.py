"""Affine algebra against matrices written by hand and nibabel."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from medseg.geometry import (
    apply_affine,
    corner_displacement_mm,
    direction_of,
    flip_lps_ras,
    make_affine,
    orientation_codes,
    spacing_of,
    voxel_volume_ml,
)

# Array axes run to the left (2 mm), to the head (3 mm) and backwards (5 mm); voxel (0, 0, 0) lies at (10, 20, 30).
BY_HAND = np.array([[-2.0, 0, 0, 10], [0, 0, -5, 20], [0, 3, 0, 30], [0, 0, 0, 1]])
ALL_CODES = ["".join(letters) for axes in permutations(("LR", "PA", "IS")) for letters in product(*axes)]


def oblique(seed: int) -> np.ndarray:
    """A random rotation with random spacings and origin."""
    random = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed).as_matrix() * random.uniform(0.4, 5.0, 3)
    affine[:3, 3] = random.uniform(-200, 200, 3)
    return affine


def test_points_and_properties_of_a_matrix_written_by_hand() -> None:
    np.testing.assert_array_equal(apply_affine(BY_HAND, [[0, 0, 0], [1, 2, 3]]), [[10, 20, 30], [8, 5, 36]])
    np.testing.assert_array_equal(spacing_of(BY_HAND), [2, 3, 5])
    np.testing.assert_array_equal(direction_of(BY_HAND), [[-1, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert voxel_volume_ml(BY_HAND) == pytest.approx(0.030, rel=1e-12)
    assert orientation_codes(BY_HAND) == ("L", "S", "P")


def test_making_the_matrix_written_by_hand() -> None:
    np.testing.assert_array_equal(make_affine((2, 3, 5), (10, 20, 30), "LSP"), BY_HAND)
    np.testing.assert_array_equal(make_affine((2, 3, 5), (10, 20, 30), direction_of(BY_HAND)), BY_HAND)
    np.testing.assert_array_equal(make_affine((1, 1, 1)), np.eye(4))


@pytest.mark.parametrize("seed", range(5))
def test_points_spacing_and_volume_agree_with_nibabel(seed: int) -> None:
    affine = oblique(seed)
    points = np.random.default_rng(seed).uniform(-10, 300, (4, 5, 3))
    np.testing.assert_allclose(apply_affine(affine, points), nib.affines.apply_affine(affine, points), rtol=1e-12)
    np.testing.assert_allclose(spacing_of(affine), nib.affines.voxel_sizes(affine), rtol=1e-12)
    image = nib.Nifti1Image(np.ones((1, 1, 1), np.uint8), affine)
    assert voxel_volume_ml(affine) * 1000 == pytest.approx(nib.imagestats.mask_volume(image), rel=1e-5)
    turn = direction_of(affine)
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("codes", ALL_CODES)
def test_letters_of_all_48_orientations_agree_with_nibabel(codes: str) -> None:
    affine = make_affine((0.7, 1.9, 3.1), (5, 6, 7), codes)
    assert orientation_codes(affine) == tuple(codes) == nib.aff2axcodes(affine)
    tilted = np.eye(4)
    tilted[:3, :3] = Rotation.from_euler("xyz", (12, -9, 15), degrees=True).as_matrix()
    assert orientation_codes(tilted @ affine) == nib.aff2axcodes(tilted @ affine)


def test_every_world_axis_is_named_once_even_where_two_array_axes_lean_to_the_same() -> None:
    # Columns 0 and 1 both lie closest to the x axis; the nearer one gets it.
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.9, 0.75, 0], [0.4, -0.6, 0.0], [0, 0.28, 1]])
    assert orientation_codes(affine) == ("R", "P", "S")


def test_there_are_48_orientations() -> None:
    assert len(set(ALL_CODES)) == 48


def test_changing_the_frame_negates_the_first_two_world_axes() -> None:
    np.testing.assert_array_equal(flip_lps_ras([[1, 2, 3], [-4, 5, -6]]), [[-1, -2, 3], [4, -5, -6]])
    np.testing.assert_array_equal(flip_lps_ras(BY_HAND), np.diag([-1, -1, 1, 1]) @ BY_HAND)


def test_changing_the_frame_of_affine_and_of_points_commute_and_undo_themselves() -> None:
    affine, point = oblique(3), np.array([3.0, 1.0, 4.0])
    np.testing.assert_allclose(apply_affine(flip_lps_ras(affine), point), flip_lps_ras(apply_affine(affine, point)))
    np.testing.assert_array_equal(flip_lps_ras(flip_lps_ras(affine)), affine)


def test_changing_the_frame_leaves_the_argument_alone() -> None:
    affine = BY_HAND.copy()
    flip_lps_ras(affine)
    np.testing.assert_array_equal(affine, BY_HAND)


def test_corner_displacement_is_the_shift_of_the_farthest_corner() -> None:
    moved = BY_HAND.copy()
    moved[:3, 3] += (3, 0, 4)
    assert corner_displacement_mm(BY_HAND, moved, (10, 10, 10)) == pytest.approx(5.0)
    # One axis is 0.01 mm coarser: after 100 steps the last slice is 1 mm off.
    coarser = make_affine((2, 3, 5.01), (10, 20, 30), "LSP")
    assert corner_displacement_mm(BY_HAND, coarser, (4, 4, 101)) == pytest.approx(1.0)
    assert corner_displacement_mm(BY_HAND, BY_HAND, (7, 8, 9)) == 0.0


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.eye(3), r"shape \(3, 3\), expected \(4, 4\)"),
        (np.diag([1.0, 0.0, 1.0, 1.0]), "not finite and invertible"),
        (np.diag([1.0, np.nan, 1.0, 1.0]), "not finite and invertible"),
        (np.diag([1.0, np.inf, 1.0, 1.0]), "not finite and invertible"),
    ],
)
def test_matrices_that_are_no_affine_are_refused_by_every_function(affine: np.ndarray, message: str) -> None:
    for function in (spacing_of, direction_of, voxel_volume_ml, orientation_codes):
        with pytest.raises(ValueError, match=message):
            function(affine)
    with pytest.raises(ValueError, match=message):
        apply_affine(affine, [0, 0, 0])


@pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, -1, 1), (1, np.nan, 1)])
def test_spacings_that_are_not_positive_are_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="three positive numbers, got"):
        make_affine(spacing)


@pytest.mark.parametrize("codes", ["RA", "RASS", "RRS", "RLS", "ras", "XYZ", ""])
def test_letters_that_name_no_three_axes_are_refused(codes: str) -> None:
    with pytest.raises(ValueError, match=f"orientation '{codes}' does not name three different axes"):
        make_affine((1, 1, 1), direction=codes)


def test_points_without_three_coordinates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got shape \(5, 2\)"):
        flip_lps_ras(np.zeros((5, 2)))
