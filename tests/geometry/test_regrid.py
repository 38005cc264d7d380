from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from medseg.geometry import apply_affine, corner_displacement_mm, orientation_codes
from medseg.geometry.regrid import closest_ras, find_reordering

SHAPE = (4, 5, 6)
ALL_48 = [(axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3)]


def _oblique_affine() -> np.ndarray:
    a, b = np.radians(20), np.radians(-30)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([0.7, 0.8, 2.5])
    affine[:3, 3] = [-30, 12, 99]
    return affine


def _disguise(array: np.ndarray, affine: np.ndarray, axes: tuple, flips: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The same voxels at the same places, stored in another axis order."""
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for new, (old, flip) in enumerate(zip(axes, flips, strict=True)):
        step[old, new] = -1 if flip else 1
        step[old, 3] = array.shape[old] - 1 if flip else 0
    stored = np.flip(array.transpose(axes), [n for n in range(3) if flips[n]])
    return stored, affine @ step


@pytest.mark.parametrize(("axes", "flips"), ALL_48)
def test_every_axis_order_and_direction_is_undone(axes: tuple, flips: tuple) -> None:
    array, affine = np.arange(np.prod(SHAPE)).reshape(SHAPE), _oblique_affine()
    stored, stored_affine = _disguise(array, affine, axes, flips)
    voxel = [0] * 3
    assert (
        array.flat[0]
        == stored[tuple(np.rint(apply_affine(np.linalg.inv(stored_affine), apply_affine(affine, voxel))).astype(int))]
    )
    order = find_reordering(stored_affine, stored.shape, affine, SHAPE)
    assert order.displacement_mm < 1e-9
    assert np.array_equal(order.apply(stored), array)
    assert order.is_identity == (axes == (0, 1, 2) and not any(flips))


def test_a_shifted_grid_reports_its_shift() -> None:
    affine = _oblique_affine()
    moved = affine.copy()
    moved[0, 3] += 0.3
    order = find_reordering(moved, SHAPE, affine, SHAPE)
    assert order.displacement_mm == pytest.approx(0.3)
    assert order.displacement_mm == pytest.approx(corner_displacement_mm(moved, affine, SHAPE))


def test_other_spacing_reports_the_corner_displacement() -> None:
    affine, other = np.diag([1.0, 1, 1, 1]), np.diag([1.0, 1, 1.1, 1])
    assert find_reordering(other, SHAPE, affine, SHAPE).displacement_mm == pytest.approx(0.5)


def test_another_shape_is_infinitely_far() -> None:
    assert find_reordering(np.eye(4), (4, 5, 7), np.eye(4), SHAPE).displacement_mm == float("inf")


@pytest.mark.parametrize(("axes", "flips"), ALL_48)
def test_the_order_closest_to_ras_moves_no_point_and_has_an_inverse(axes: tuple, flips: tuple) -> None:
    array, affine = np.arange(np.prod(SHAPE)).reshape(SHAPE), _oblique_affine()
    stored, stored_affine = _disguise(array, affine, axes, flips)
    order = closest_ras(stored_affine, stored.shape)
    moved, moved_affine = order.apply(stored), order.affine(stored_affine, stored.shape)
    assert orientation_codes(moved_affine) == ("R", "A", "S")
    assert np.array_equal(moved, array)
    np.testing.assert_allclose(moved_affine, affine, atol=1e-12)
    assert np.array_equal(order.inverse().apply(moved), stored)
    np.testing.assert_allclose(order.inverse().affine(moved_affine, moved.shape), stored_affine, atol=1e-12)


def test_only_grids_of_three_axes_have_a_closest_order() -> None:
    with pytest.raises(ValueError, match="expected three lengths"):
        closest_ras(np.eye(4), (4, 5))
