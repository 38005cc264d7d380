"""Outlines of 2-D masks: filled back they are the mask."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from scipy.ndimage import gaussian_filter

from medseg.datasets.phantom.outline import outlines_of


def fill(points: np.ndarray, shape: tuple[int, int], with_outline: bool) -> np.ndarray:
    """An independent fill: matplotlib decides what lies inside; the outline's own pixels follow the flag."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1).reshape(-1, 2)
    inside = np.zeros(shape, bool)
    if len(points) > 3:
        inside = Polygon(points, closed=True).contains_points(grid).reshape(shape)
    kept = points[((points >= 0) & (points < shape)).all(axis=1)]
    inside[kept[:, 0], kept[:, 1]] = with_outline
    return inside


def rebuild(mask: np.ndarray) -> np.ndarray:
    result = np.zeros(mask.shape, bool)
    found = outlines_of(mask)
    for outline in found:
        if outline.inclusion:
            result |= fill(outline.points, mask.shape, with_outline=False)
    for outline in found:
        if not outline.inclusion:
            result &= ~fill(outline.points, mask.shape, with_outline=True)
    return result


def drawing(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


@pytest.mark.parametrize(
    "mask",
    [
        drawing("...", ".#.", "..."),
        drawing("......", ".####.", "......"),
        drawing(".......", ".#.#.#.", ".#####.", "......."),  # notches one pixel wide
        drawing(".....", ".##..", "..##.", "....."),
        drawing("......", ".##...", "...##.", "......"),  # two regions that meet at a corner
        drawing(".......", ".#####.", ".#...#.", ".#.#.#.", ".#.###.", "......."),  # a spiral around an open bay
        drawing("......", ".####.", ".#..#.", ".####.", "......"),  # a hole of two pixels
        drawing(".......", ".#####.", ".#.#.#.", ".#####.", "......."),  # two holes of one pixel
    ],
)
def test_outlines_filled_back_are_the_mask(mask: np.ndarray) -> None:
    assert np.array_equal(rebuild(mask), mask)


@pytest.mark.parametrize("seed", range(20))
def test_random_masks_survive_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((30, 26), bool)
    mask[2:-2, 2:-2] = gaussian_filter(rng.normal(size=(26, 22)), 1.2 + 0.1 * seed) > 0.0
    try:
        found = rebuild(mask)
    except ValueError as error:
        assert "island" in str(error)
        return
    assert np.array_equal(found, mask)


def test_outline_is_a_closed_chain_of_neighbours_outside_the_mask() -> None:
    i, j = np.mgrid[:20, :20]
    mask = (i - 9.3) ** 2 + (j - 10.1) ** 2 < 30
    (outline,) = outlines_of(mask)
    assert np.array_equal(outline.points[0], outline.points[-1])
    assert np.abs(np.diff(outline.points, axis=0)).max() == 1
    assert not mask[outline.points[:, 0], outline.points[:, 1]].any()


def test_hole_is_marked_as_exclusion() -> None:
    found = outlines_of(drawing(".....", ".###.", ".#.#.", ".###.", "....."))
    assert [outline.inclusion for outline in found] == [True, False]
    assert found[1].points.tolist() == [[2, 2]]


def test_island_in_a_hole_is_refused() -> None:
    ring = np.ones((7, 7), bool)
    ring[1:6, 1:6] = False
    ring[3, 3] = True
    with pytest.raises(ValueError, match="island"):
        outlines_of(ring)
