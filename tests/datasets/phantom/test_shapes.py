"""Continuous shapes: signed distances, bounding boxes and volumes against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.datasets.phantom.draw import random_blob
from medseg.datasets.phantom.grid import make_grid, sample_shape
from medseg.datasets.phantom.model import measure
from medseg.datasets.phantom.shapes import (
    Blob,
    Capsule,
    Difference,
    Intersection,
    Offset,
    SmoothUnion,
    Trunk,
    Union,
    Waves,
)


def sphere(radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Blob:
    return Blob(np.array(centre), np.full(3, radius), np.eye(3))


def test_sphere_distance_is_exact() -> None:
    points = np.random.default_rng(0).normal(size=(3, 500)).astype(np.float32) * 20
    expected = np.linalg.norm(points - np.array([[1.0], [2.0], [3.0]]), axis=0) - 7.0
    assert np.abs(sphere(7.0, (1.0, 2.0, 3.0)).signed(points) - expected).max() < 1e-4


def test_capsule_distance_is_exact_for_one_radius() -> None:
    tube = Capsule(np.array([0.0, 0.0, -5.0]), np.array([0.0, 0.0, 5.0]), 2.0, 2.0)
    assert tube.signed_at((6.0, 0.0, 3.0)) == pytest.approx(4.0, abs=1e-5)
    assert tube.signed_at((0.0, 3.0, 9.0)) == pytest.approx(3.0, abs=1e-5)
    assert tube.signed_at((0.0, 0.0, 0.0)) == pytest.approx(-2.0, abs=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.1, 1.3)])
def test_sampled_sphere_has_its_volume(spacing: tuple[float, float, float]) -> None:
    grid = make_grid((60, 60, 60), spacing, None, "RAS")
    sampled = sample_shape(sphere(20.0, (0.3, -1.2, 0.7)), grid)
    assert sampled is not None
    volume = sampled.inside.sum() * np.prod(spacing)
    assert volume == pytest.approx(4 / 3 * np.pi * 20.0**3, rel=0.01)


def test_measured_volume_and_centre_match_closed_forms() -> None:
    ellipsoid = Blob(np.array([5.0, -3.0, 40.0]), np.array([4.0, 6.0, 9.0]), np.eye(3))
    centre, volume_ml, diameter = measure(ellipsoid)
    assert volume_ml == pytest.approx(4 / 3 * np.pi * 4 * 6 * 9 / 1000, rel=0.003)
    assert diameter == pytest.approx(2 * np.cbrt(4 * 6 * 9), rel=0.001)
    assert np.allclose(centre, [5.0, -3.0, 40.0], atol=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_bounding_box_holds_the_whole_blob(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blob = random_blob(rng, rng.normal(size=3) * 30, [20, 35, 50], tilt_deg=60, bumps=0.1)
    low, high = blob.bounds()
    points = rng.uniform(low - 15, high + 15, size=(20000, 3))
    outside = ((points < low) | (points > high)).any(axis=1)
    assert blob.signed(points[outside].T.astype(np.float32)).min() > 0


def test_blob_distance_is_close_near_the_surface() -> None:
    blob = Blob(np.zeros(3), np.array([20.0, 35.0, 50.0]), np.eye(3))
    surface = np.array([20.0, 0.0, 0.0])
    for step in (-2.0, -0.5, 0.5, 2.0):
        assert blob.signed_at(surface + np.array([step, 0.0, 0.0])) == pytest.approx(step, abs=0.02 + 0.1 * abs(step))


def test_combinations_follow_set_logic() -> None:
    a, b = sphere(10.0), sphere(10.0, (8.0, 0.0, 0.0))
    points = np.random.default_rng(1).uniform(-20, 20, (3, 4000)).astype(np.float32)
    in_a, in_b = a.signed(points) <= 0, b.signed(points) <= 0
    assert np.array_equal(Union([a, b]).signed(points) <= 0, in_a | in_b)
    assert np.array_equal(Intersection([a, b]).signed(points) <= 0, in_a & in_b)
    assert np.array_equal(Difference(a, [b]).signed(points) < 0, (a.signed(points) < 0) & (b.signed(points) > 0))
    assert np.all(SmoothUnion(a, b, 4.0).signed(points) <= Union([a, b]).signed(points))
    assert np.allclose(Offset(a, 2.0).signed(points), sphere(12.0).signed(points), atol=1e-4)


def test_trunk_with_exponent_two_is_an_elliptic_cylinder() -> None:
    trunk = Trunk((1.0, 2.0), (30.0, 20.0), 2.0)
    for height in (-100.0, 0.0, 250.0):
        assert trunk.signed_at((31.0, 2.0, height)) == pytest.approx(0.0, abs=1e-3)
        assert trunk.signed_at((1.0, -18.0, height)) == pytest.approx(0.0, abs=1e-3)


def test_random_waves_have_the_stated_spread() -> None:
    waves = Waves.random(np.random.default_rng(3), 40, 1.0, 5.0)
    points = np.random.default_rng(4).uniform(-500, 500, (3, 20000)).astype(np.float32)
    values = waves(points)
    assert values.std() == pytest.approx(5.0, rel=0.15)
    assert np.abs(values).max() <= waves.bound + 1e-3


def test_blockwise_sampling_equals_sampling_every_voxel() -> None:
    rng = np.random.default_rng(5)
    grid = make_grid((90, 80, 70), (2.1, 1.7, 3.0), None, "PIR")
    blob = random_blob(rng, [3, -4, 5], [25, 18, 30], tilt_deg=30, bumps=0.08)
    shape = Difference(blob, [sphere(14.0, (10.0, 0.0, 0.0))])
    sampled = sample_shape(shape, grid)
    assert sampled is not None
    whole = np.zeros(grid.shape, bool)
    whole[sampled.box] = sampled.inside
    every = shape.signed(grid.positions(np.indices(grid.shape).reshape(3, -1))).reshape(grid.shape) <= 0
    assert np.array_equal(whole, every)


def test_shape_outside_the_grid_is_none() -> None:
    assert sample_shape(sphere(5.0, (200.0, 0.0, 0.0)), make_grid((50, 50, 50), (1, 1, 1), None, "RAS")) is None


def test_grids_refuse_what_they_cannot_hold() -> None:
    with pytest.raises(ValueError, match="orthonormal"):
        make_grid((10, 10, 10), (1, 1, 1), None, np.diag([1.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="three positive integers"):
        make_grid((10, 10, 10), (1, 1, 1), (4, 0, 4), "RAS")
