"""Index maps between grids with parallel axes, and the neighbours of linear interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.geometry import AxisMap, axis_map, axis_neighbours, make_affine


def test_the_map_takes_an_index_through_millimetres_to_the_other_grid() -> None:
    source = make_affine((0.7, 0.8, 2.5), (-31.0, 12.0, 55.0), "LPS")
    target = make_affine((1.4, 0.8, 3.0), (-33.1, 12.4, 56.0), "LPS")
    found = axis_map(source, target, (40, 40, 40))
    assert found is not None
    for index in np.random.default_rng(0).uniform(0, 40, (20, 3)):
        expected = np.linalg.solve(source, target @ [*index, 1.0])[:3]
        np.testing.assert_allclose(found.scale * index + found.shift, expected, atol=1e-9)


def test_the_inverse_map_leads_back() -> None:
    forth = AxisMap(np.array([2.5, 0.3]), np.array([-1.0, 4.0]))
    back = forth.inverse()
    index = np.array([7.0, -3.0])
    np.testing.assert_allclose(back.scale * (forth.scale * index + forth.shift) + back.shift, index)


@pytest.mark.parametrize(
    "target",
    [
        make_affine((1.0, 1.0, 1.0), (0, 0, 0), "LAS"),  # turned around
        make_affine((1.0, 1.0, 1.0), (0, 0, 0), "ARS"),  # axes exchanged
        np.array([[1.0, 0, 0.01, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),  # sheared
    ],
    ids=["flipped", "exchanged", "sheared"],
)
def test_axes_that_are_not_parallel_have_no_map(target: np.ndarray) -> None:
    assert axis_map(np.eye(4), target, (30, 30, 30)) is None


def test_a_shear_that_moves_no_voxel_is_taken() -> None:
    target = np.eye(4)
    target[0, 2] = 1e-5
    assert axis_map(np.eye(4), target, (30, 30, 30)) is not None
    assert axis_map(np.eye(4), target, (30, 30, 300)) is None


@pytest.mark.parametrize(("count", "source", "scale", "shift"), [(9, 5, 0.5, 0.1), (4, 11, 3.3, -0.4), (1, 1, 2, 0)])
def test_neighbours_and_weights_are_those_of_numpy_interp(count: int, source: int, scale: float, shift: float) -> None:
    values = np.random.default_rng(1).normal(size=source)
    lower, upper, weight = axis_neighbours(count, source, scale, shift)
    expected = np.interp(np.arange(count) * scale + shift, np.arange(source), values)  # repeats the border, too
    np.testing.assert_allclose(values[lower] * (1 - weight) + values[upper] * weight, expected, atol=1e-6)


def test_the_closest_voxel_is_the_even_one_of_two() -> None:
    lower, upper, weight = axis_neighbours(5, 4, 0.5, 0.0, nearest=True)
    assert lower.tolist() == upper.tolist() == [0, 0, 1, 2, 2]
    assert not weight.any()
