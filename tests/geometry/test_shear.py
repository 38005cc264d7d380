from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from medseg.geometry.shear import plan_shear, shift_plane

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def test_the_canvas_holds_every_slice_and_starts_on_the_first_ones_pixels() -> None:
    where = [(0, 0, 0), (0, -0.9, 3), (0, -1.8, 6)]
    plan = plan_shear(where, AXIAL, (0.6, 0.5), (10, 20))
    assert plan.shape == (10, 23)
    assert plan.origin_lps == pytest.approx([0, -1.8, 0])
    assert plan.shifts[:, 0] == pytest.approx([0, 0, 0])
    assert plan.shifts[:, 1] == pytest.approx([3.0, 1.5, 0.0])
    assert plan.largest_mm == pytest.approx(1.8)


def test_a_slant_in_both_directions_moves_along_both_axes() -> None:
    plan = plan_shear([(0, 0, 0), (0.25, 0.3, 2)], AXIAL, (0.6, 0.5), (10, 20))
    assert plan.shape == (11, 21)
    assert plan.shifts == pytest.approx(np.array([[0, 0], [0.5, 0.5]]))


def test_offsets_of_rounding_are_left_alone() -> None:
    plan = plan_shear([(0, 0, 0), (0.005, 0.9, 3)], AXIAL, (0.6, 0.5), (10, 20))
    assert plan.shape == (10, 22)
    assert not plan.shifts[:, 0].any()


def test_whole_pixels_move_values_unchanged() -> None:
    plane = np.arange(12).reshape(3, 4)
    moved = shift_plane(plane, (2.0, 1.0), (6, 5), -1024)
    assert np.array_equal(moved[2:5, 1:], plane)
    assert (np.delete(moved, [2, 3, 4], axis=0) == -1024).all()
    assert (moved[:, 0] == -1024).all()


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, 0.0), (0.0, 1.75), (2.4, 1.6)])
def test_parts_of_a_pixel_equal_linear_interpolation_by_scipy(shift: tuple[float, float]) -> None:
    plane = np.random.default_rng(0).integers(-1000, 2000, (7, 9)).astype(np.int16)
    shape = (7 + int(np.ceil(shift[0])), 9 + int(np.ceil(shift[1])))
    grid = np.indices(shape).astype(float) - np.array(shift)[:, None, None]
    framed = np.pad(plane.astype(float), 4, constant_values=-1024)
    expected = map_coordinates(framed, grid + 4, order=1)
    assert shift_plane(plane, shift, shape, -1024) == pytest.approx(expected, abs=1e-3)
