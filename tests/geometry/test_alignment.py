"""The relation of two grids told from their affines."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.geometry import compare_grids, corner_displacement_mm, make_affine

SHAPE = (10, 12, 14)
IMAGE = make_affine((0.7, 0.8, 2.5), (-30, 20, 100), "LPS")


def flip(affine: np.ndarray, axis: int, length: int | None) -> np.ndarray:
    """Reverse an axis of a header; with a length the origin moves to the other end, so the grid keeps its place."""
    flipped = affine.copy()
    if length is not None:
        flipped[:3, 3] += affine[:3, axis] * (length - 1)
    flipped[:3, axis] *= -1
    return flipped


def test_equal_headers_are_the_same_grid() -> None:
    found = compare_grids(IMAGE, SHAPE, IMAGE, SHAPE)
    assert (found.kind, found.displacement_mm) == ("same", 0.0)
    assert "same grid" in found.describe()


def test_float32_headers_are_the_same_grid() -> None:
    assert compare_grids(IMAGE.astype(np.float32), SHAPE, IMAGE, SHAPE).kind == "same"


def test_a_reversed_axis_over_the_same_space_is_a_reordering() -> None:
    found = compare_grids(flip(IMAGE, 0, SHAPE[0]), SHAPE, IMAGE, SHAPE)
    assert found.kind == "reordered"
    assert found.reordering.flips == (True, False, False)
    assert found.displacement_mm == pytest.approx(0.7 * 9)
    assert "stored in another order: axes (0, 1, 2), flipped (0,)" in found.describe()


def test_permuted_axes_of_another_shape_are_a_reordering() -> None:
    found = compare_grids(IMAGE[:, [2, 0, 1, 3]], (14, 10, 12), IMAGE, SHAPE)
    assert found.kind == "reordered"
    assert found.reordering.axes == (1, 2, 0)
    assert np.isinf(found.displacement_mm)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_a_reversed_sign_with_the_origin_kept_is_a_flipped_header(axes: tuple[int, ...]) -> None:
    header = IMAGE
    for axis in axes:
        header = flip(header, axis, None)
    found = compare_grids(header, SHAPE, IMAGE, SHAPE)
    assert (found.kind, found.flipped_axes) == ("header_flipped", axes)
    assert found.displacement_mm == pytest.approx(corner_displacement_mm(header, IMAGE, SHAPE))
    assert f"array axes {axes} run the other way" in found.describe()


@pytest.mark.parametrize("what", ["shift", "spacing", "turn", "flip and spacing"])
def test_anything_else_is_misregistered(what: str) -> None:
    header = IMAGE.copy()
    if what == "shift":
        header[2, 3] += 0.5
    elif what == "spacing":
        header[:3, 2] *= 1.1
    elif what == "flip and spacing":
        header = flip(header, 0, None)
        header[:3, 2] *= 1.1
    else:
        header[:2, :2] = [[0.0, -0.8], [0.7, 0.0]]
    found = compare_grids(header, SHAPE, IMAGE, SHAPE)
    assert found.kind == "misregistered"
    assert f"{corner_displacement_mm(header, IMAGE, SHAPE):.3f} mm apart" in found.describe()


def test_other_shapes_are_misregistered_at_no_finite_distance() -> None:
    found = compare_grids(IMAGE, (10, 12, 13), IMAGE, SHAPE)
    assert (found.kind, found.describe()) == ("misregistered", "grids of different shapes")


def test_what_remains_after_the_best_reordering_is_said() -> None:
    shifted = flip(IMAGE, 1, SHAPE[1])
    shifted[2, 3] += 0.5
    text = compare_grids(shifted, SHAPE, IMAGE, SHAPE).describe()
    assert "0.500 mm if re-ordered by axes (0, 1, 2), flipped (1,)" in text
    permuted = IMAGE[:, [2, 0, 1, 3]].copy()
    permuted[0, 3] += 0.7
    found = compare_grids(permuted, (14, 10, 12), IMAGE, SHAPE)
    assert found.kind == "misregistered"
    assert found.describe() == "grids of different shapes, 0.700 mm if re-ordered by axes (1, 2, 0), flipped ()"


def test_the_tolerance_is_in_millimetres_at_the_corners() -> None:
    header = IMAGE.copy()
    header[0, 3] += 0.3
    assert compare_grids(header, SHAPE, IMAGE, SHAPE, tolerance_mm=0.2).kind == "misregistered"
    assert compare_grids(header, SHAPE, IMAGE, SHAPE, tolerance_mm=0.4).kind == "same"


def test_bad_shapes_and_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape is \(10, 12\), expected three lengths"):
        compare_grids(IMAGE, (10, 12), IMAGE, SHAPE)
    with pytest.raises(ValueError, match="not finite and invertible"):
        compare_grids(np.zeros((4, 4)), (1, 2, 3), IMAGE, SHAPE)
