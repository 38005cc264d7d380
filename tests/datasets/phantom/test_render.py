"""Partial volume, soft rims and textures."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.datasets.phantom.grid import make_grid
from medseg.datasets.phantom.render import AIR_HU, Part, render
from medseg.datasets.phantom.shapes import Blob, Trunk, Waves


def ball(radius: float) -> Blob:
    return Blob(np.array([0.4, -0.3, 0.2]), np.full(3, radius), np.eye(3))


def test_total_hu_measures_the_volume_better_with_partial_volume() -> None:
    grid = make_grid((30, 30, 30), (2.0, 2.0, 2.0), None, "RAS")
    exact = 4 / 3 * np.pi * 6.3**3
    errors = []
    for supersample in (1, 4):
        hu, _ = render([Part(ball(6.3), 0.0, 1)], grid, supersample)
        errors.append(abs(float((hu - AIR_HU).sum()) / -AIR_HU * 8.0 / exact - 1.0))
    assert errors[1] < 0.004
    assert errors[1] < errors[0]


def test_boundary_voxels_hold_the_mean_of_both_sides() -> None:
    # The cylinder's flat-ish side passes through voxel centres: about half of each of those voxels is inside.
    grid = make_grid((40, 8, 8), (2.0, 2.0, 2.0), (21, 3, 3), "RAS")
    hu, _ = render([Part(Trunk((0.0, 0.0), (10.0, 5000.0), 2.0), 100.0, 1)], grid, 4)
    assert hu[10, 1, 1] == 100.0 and hu[0, 1, 1] == AIR_HU
    assert np.allclose(hu[[5, 15]], (100.0 + AIR_HU) / 2.0, atol=1.0)


def test_later_parts_cover_earlier_ones_exactly_where_surfaces_coincide() -> None:
    grid = make_grid((30, 30, 30), (2.0, 2.0, 2.0), None, "RAS")
    covered, _ = render([Part(ball(8.0), -500.0, 1), Part(ball(8.0), 50.0, 2)], grid, 3)
    alone, organs = render([Part(ball(8.0), 50.0, 2)], grid, 3)
    assert np.array_equal(covered, alone)
    assert set(np.unique(organs)) == {0, 2}


def test_soft_rim_is_half_way_at_the_surface() -> None:
    grid = make_grid((40, 4, 4), (0.5, 0.5, 0.5), None, "RAS")
    wall = Trunk((0.0, 0.0), (10.25, 5000.0), 2.0)
    hu, organs = render([Part(wall, 100.0, 1, rim_mm=4.0)], grid, 4)
    line = hu[:, 4, 4]
    x = (np.arange(grid.shape[0]) - (grid.shape[0] - 1) / 2) * 0.5
    expected = AIR_HU + (100.0 - AIR_HU) * np.clip(0.5 - (np.abs(x) - 10.25) / 4.0, 0, 1)
    assert np.abs(line - expected).max() < 25.0
    assert np.array_equal(organs[:, 4, 4] == 1, np.abs(x) <= 10.25)


def test_texture_equals_the_waves_at_voxel_centres() -> None:
    waves = Waves.random(np.random.default_rng(0), 5, 0.2, 10.0)
    grid = make_grid((40, 40, 40), (2.0, 3.0, 2.5), None, "PIR")
    part = Part(ball(15.0), 40.0, 1, texture=waves)
    textured, organs = render([part], grid, 1)
    index = np.argwhere(organs == 1)
    expected = 40.0 + waves(grid.positions(list(index.T)))
    assert np.abs(textured[organs == 1] - expected).max() < 1e-3


def test_parts_without_hu_only_label_and_without_organ_only_paint() -> None:
    grid = make_grid((30, 30, 30), (2.0, 2.0, 2.0), None, "RAS")
    hu, organs = render([Part(ball(8.0), None, 3)], grid)
    assert np.all(hu == AIR_HU) and organs.max() == 3
    hu, organs = render([Part(ball(8.0), 10.0, None)], grid)
    assert hu.max() == 10.0 and organs.max() == 0


def test_supersample_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="supersample is 0"):
        render([], make_grid((10, 10, 10), (1, 1, 1), None, "RAS"), 0)
