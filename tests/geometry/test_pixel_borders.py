from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medseg.geometry.pixel_borders import HoleStyle, fill_even_odd, trace_pixel_borders
from medseg.geometry.planar import fill_contour

STYLES: tuple[HoleStyle, ...] = ("keyhole", "separate")


def filled(polygons: Sequence[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """All polygons together by exclusive or."""
    full = np.zeros(shape, dtype=bool)
    for polygon in polygons:
        start, mask = fill_even_odd(polygon, shape)
        full[start[0] : start[0] + mask.shape[0], start[1] : start[1] + mask.shape[1]] ^= mask
    return full


def signed_area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def random_masks(count: int) -> list[NDArray[np.bool_]]:
    draw = np.random.default_rng(5)
    return [draw.random(draw.integers(1, 13, 2)) < draw.random() for _ in range(count)]


def test_one_pixel_is_a_square_of_side_one_around_its_centre() -> None:
    mask = np.zeros((4, 5), dtype=bool)
    mask[2, 3] = True
    (square,) = trace_pixel_borders(mask)
    assert sorted(map(tuple, square.tolist())) == [(1.5, 2.5), (1.5, 3.5), (2.5, 2.5), (2.5, 3.5)]


def test_straight_sides_have_no_vertices() -> None:
    (rectangle,) = trace_pixel_borders(np.ones((30, 20), dtype=bool))
    assert len(rectangle) == 4
    assert signed_area(rectangle) == 600


@pytest.mark.parametrize("holes", STYLES)
def test_filling_the_borders_gives_every_mask_back(holes: HoleStyle) -> None:
    for mask in random_masks(400):
        assert np.array_equal(filled(trace_pixel_borders(mask, holes), mask.shape), mask)


@pytest.mark.parametrize("holes", STYLES)
def test_an_independent_filling_agrees(holes: HoleStyle) -> None:
    for mask in random_masks(60):
        full = np.zeros(mask.shape, dtype=bool)
        for polygon in trace_pixel_borders(mask, holes):
            full ^= fill_contour(polygon, mask.shape)
        assert np.array_equal(full, mask)


def test_a_shift_of_less_than_half_a_pixel_changes_nothing() -> None:
    draw = np.random.default_rng(6)
    for mask in random_masks(100):
        moved = [polygon + draw.uniform(-0.4, 0.4, 2) for polygon in trace_pixel_borders(mask)]
        assert np.array_equal(filled(moved, mask.shape), mask)


def test_keyholes_enclose_the_area_of_the_pixels_with_one_polygon_a_part() -> None:
    for mask in random_masks(200):
        polygons = trace_pixel_borders(mask, "keyhole")
        assert len(polygons) == ndimage.label(mask)[1]
        assert sum(map(signed_area, polygons)) == mask.sum()
        assert all(signed_area(polygon) > 0 for polygon in polygons)


def test_separate_holes_run_the_other_way() -> None:
    ring = np.ones((5, 5), dtype=bool)
    ring[2, 2] = False
    assert sorted(map(signed_area, trace_pixel_borders(ring, "separate"))) == [-1, 25]


def test_holes_within_holes_and_rings_within_rings() -> None:
    nested = np.zeros((15, 15), dtype=bool)
    for inset in range(7):
        nested[inset : 15 - inset, inset : 15 - inset] = inset % 2 == 0
    assert len(trace_pixel_borders(nested, "keyhole")) == 4
    for holes in STYLES:
        assert np.array_equal(filled(trace_pixel_borders(nested, holes), nested.shape), nested)


def test_a_channel_follows_pixel_borders() -> None:
    sieve = np.ones((21, 21), dtype=bool)
    sieve[2::4, 2::4] = False
    (walk,) = trace_pixel_borders(sieve)
    steps = np.roll(walk, -1, axis=0) - walk
    assert np.all((steps == 0).sum(axis=1) == 1)
    assert np.array_equal(walk % 1, np.full_like(walk, 0.5))
    assert np.array_equal(filled([walk], sieve.shape), sieve)


def test_an_empty_mask_has_no_border() -> None:
    assert trace_pixel_borders(np.zeros((3, 4), dtype=bool)) == []


def test_fractional_vertices_fill_as_an_independent_program_says() -> None:
    draw = np.random.default_rng(7)
    for _ in range(200):
        polygon = draw.uniform(-3, 14, (draw.integers(3, 9), 2))
        assert np.array_equal(filled([polygon], (11, 12)), fill_contour(polygon, (11, 12)))


def test_polygons_with_a_common_edge_through_centres_share_no_pixel_and_leave_none_out() -> None:
    left, right = [(0, 0), (4, 0), (4, 6), (0, 6)], [(4, 0), (9, 0), (9, 6), (4, 6)]
    both = [filled([np.array(polygon, float)], (12, 9)) for polygon in (left, right)]
    assert not np.any(both[0] & both[1])
    assert np.array_equal(both[0] | both[1], filled([np.array([(0, 0), (9, 0), (9, 6), (0, 6)], float)], (12, 9)))


def test_polygons_outside_the_slice_are_cut_off() -> None:
    assert filled([np.array([(-9.0, -9), (-2, -9), (-2, -2)])], (4, 4)).sum() == 0
    assert filled([np.array([(-9.0, -9), (99, -9), (99, 99), (-9, 99)])], (4, 3)).all()


@pytest.mark.parametrize(
    ("points", "words"),
    [([(0, 0), (1, 1)], "three finite points"), ([(0, 0), (1, 1), (float("nan"), 0)], "three finite points")],
)
def test_what_is_no_polygon_is_refused(points: list[tuple[float, float]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fill_even_odd(points, (4, 4))


def test_masks_of_other_dimensions_and_unknown_styles_are_refused() -> None:
    with pytest.raises(ValueError, match="two axes"):
        trace_pixel_borders(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="keyhole, separate"):
        trace_pixel_borders(np.zeros((2, 2)), "bridge")  # type: ignore[arg-type]
