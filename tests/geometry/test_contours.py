from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.geometry.contours import fill_outline

SQUARE = [(10, 20), (14, 20), (14, 26), (10, 26)]  # x 10-14, y 20-26


def _exact(points: list[tuple[int, int]], x: int, y: int) -> str:
    """Even-odd test in whole-number arithmetic: 'edge', 'inside' or 'outside'."""
    inside = False
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        cross = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        if cross == 0 and min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1):
            return "edge"
        if (y0 > y) != (y1 > y) and (cross > 0) == (y1 > y0):
            inside = not inside
    return "inside" if inside else "outside"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=1, max_size=9))
def test_any_polygon_equals_exact_arithmetic(points: list[tuple[int, int]]) -> None:
    for border, accepted in (("exclude", {"inside"}), ("include", {"inside", "edge"})):
        start, mask = fill_outline(points, border)
        for i, j in np.ndindex(mask.shape):
            assert mask[i, j] == (_exact(points, start[0] + i, start[1] + j) in accepted)


def test_border_pixels_are_out_or_in() -> None:
    assert int(fill_outline(SQUARE, "exclude").mask.sum()) == 3 * 5
    assert int(fill_outline(SQUARE, "include").mask.sum()) == 5 * 7


def test_x_is_the_first_axis() -> None:
    patch = fill_outline(SQUARE)
    assert patch.start == (10, 20)
    assert patch.mask.shape == (5, 7)


def test_closed_and_unclosed_outlines_are_the_same() -> None:
    assert np.array_equal(fill_outline(SQUARE).mask, fill_outline([*SQUARE, SQUARE[0]]).mask)


@pytest.mark.parametrize("border", ["exclude", "include"])
def test_area_follows_the_shoelace_formula(border: str) -> None:
    """Pick's theorem: inside pixels = area - edge pixels / 2 + 1."""
    points = np.array([(0, 0), (9, 2), (12, 11), (4, 14), (-3, 6)])
    x, y = points.T
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    edge = int(np.gcd(*np.abs(np.roll(points, -1, axis=0) - points).T).sum())
    inside = area - edge / 2 + 1
    assert int(fill_outline(points, border).mask.sum()) == inside + (edge if border == "include" else 0)


@pytest.mark.parametrize("points", [[(3, 4)], [(3, 4), (6, 4)]])
def test_a_point_or_a_line_encloses_nothing(points: list[tuple[int, int]]) -> None:
    assert not fill_outline(points, "exclude").mask.any()
    assert int(fill_outline(points, "include").mask.sum()) == (1 if len(points) == 1 else 4)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="expected one of exclude, include"):
        fill_outline(SQUARE, "half")
    with pytest.raises(ValueError, match="whole-number points"):
        fill_outline([(0.5, 1), (2, 2), (3, 0)])
    with pytest.raises(ValueError, match="whole-number points"):
        fill_outline(np.zeros((0, 2)))
