"""ElasticField: displacements, the bound against folding, inverses, other grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import BSpline

from medseg.transforms import ELASTIC_PRESETS, ElasticField, ElasticSettings


def some_field(d: int = 3, std: float = 3.0, seed: int = 0) -> ElasticField:
    random = np.random.RandomState(seed)
    return ElasticField(std * random.randn(d, *(5, 4, 6)[:d]), (20.0, 30.0, 25.0)[:d], (-10.0, 5.0, 0.0)[:d])


def derivative(field: ElasticField, points: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """``du_a / dp_b`` by central differences, ``(N, d, d)``."""
    shifts = step * np.eye(field.spatial_dims)
    columns = [(field.displacement(points + s) - field.displacement(points - s)) / (2 * step) for s in shifts]
    return np.stack(columns, -1)


def test_the_displacement_is_scipys_spline() -> None:
    field = some_field(2)
    points = np.random.RandomState(1).uniform((12, 40), (28, 50), (50, 2))  # all control points around lie in the grid
    basis = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    t = (points - field.origin_mm) / field.spacing_mm
    weights = [np.nan_to_num(basis(t[:, a, None] - np.arange(field.control_mm.shape[1 + a]))) for a in range(2)]
    expected = np.einsum("nz,ny,azy->na", *weights, field.control_mm)
    np.testing.assert_allclose(field.displacement(points), expected, atol=1e-12)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_derivative_exceeds_the_bound_and_the_bound_is_close(d: int, seed: int) -> None:
    field = some_field(d, seed=seed)
    points = np.random.RandomState(seed).uniform(-60, 200, (40000, d))
    found = np.abs(derivative(field, points)).sum(2).max()
    assert found <= field.contraction + 1e-8
    assert found > 0.5 * field.contraction


def test_the_bound_of_a_shear_is_exact() -> None:
    ramp = np.zeros((2, 9, 9))
    ramp[0] = 0.3 * 10.0 * np.arange(9)  # 0.3 mm per mm along the second axis
    assert ElasticField(ramp, (10, 10), (0, 0)).contraction == pytest.approx(0.3)


def test_a_field_below_the_bound_does_not_fold() -> None:
    field = some_field(3, std=30.0)
    assert field.contraction > 1
    assert field.jacobian_bounds[0] == 0
    limited = field.limited(0.9)
    assert limited.contraction == pytest.approx(0.9)
    assert limited.scale == pytest.approx(0.9 / field.contraction)
    np.testing.assert_allclose(limited.control_mm, field.control_mm * limited.scale)
    points = np.random.RandomState(3).uniform(-20, 150, (20000, 3))
    determinant = np.linalg.det(np.eye(3) + derivative(limited, points))
    low, high = limited.jacobian_bounds
    assert 0 < low <= determinant.min() <= determinant.max() <= high
    assert np.linalg.det(np.eye(3) + derivative(field, points)).min() < 0
    assert limited.limited(0.95) is limited


def test_no_displacement_is_longer_than_the_longest_control_vector() -> None:
    field = some_field(3)
    points = np.random.RandomState(0).uniform(-50, 200, (20000, 3))
    assert np.linalg.norm(field.displacement(points), axis=1).max() <= field.largest_mm


@pytest.mark.parametrize("d", [2, 3])
def test_interpolated_values_are_met_at_the_control_points(d: int) -> None:
    values = np.random.RandomState(0).randn(d, *(5, 4, 6)[:d])
    spacing, origin = np.array((20.0, 30.0, 25.0)[:d]), np.array((-10.0, 5.0, 0.0)[:d])
    field = ElasticField.through(values, spacing, origin)
    nodes = np.indices(values.shape[1:]).reshape(d, -1).T * spacing + origin
    np.testing.assert_allclose(field.displacement(nodes), values.reshape(d, -1).T, atol=1e-12)


def test_points_return_where_they_came_from() -> None:
    field = some_field(3, std=30.0).limited(0.9)
    points = np.random.RandomState(0).uniform(-20, 150, (500, 3))
    found, error = field.inverse_points(points)
    missed = np.linalg.norm(found + field.displacement(found) - points, axis=1)
    assert missed.max() == pytest.approx(error, abs=1e-12)
    assert error <= 1e-6
    _, rough = field.inverse_points(points, most=3)
    assert rough > 0.1
    assert field.inverse_points(np.zeros((0, 3)))[1] == 0


@pytest.mark.parametrize("d", [2, 3])
def test_the_inverse_field_undoes_it_up_to_the_error_it_states(d: int) -> None:
    field = some_field(d, std=8.0).limited(0.6)
    size = (61, 81, 71)[:d]
    back = field.inverse(size)
    points = np.random.RandomState(0).uniform(0, np.array(size) - 1, (5000, d))
    moved = points + back.field.displacement(points)
    missed = np.linalg.norm(moved + field.displacement(moved) - points, axis=1).max()
    assert missed <= 1.5 * back.error_mm
    assert 0 < back.error_mm < 0.03 * field.largest_mm


def test_one_field_serves_other_grids_of_the_same_directions() -> None:
    affine = np.array([[-2.0, 0, 0, 10], [0, 0, -5, 20], [0, 3, 0, 30], [0, 0, 0, 1]])
    random = np.random.RandomState(0)
    field = ElasticField(random.randn(3, 4, 4, 4), (20, 20, 20), (0, 0, 0), affine)
    finer = affine @ np.diag([0.5, 0.25, 0.5, 1])
    finer[:3, 3] = (affine @ [1, 2, 3, 1])[:3]
    np.testing.assert_allclose(field.to_mm([[0, 0, 0]], finer), [[2, 6, 15]])
    np.testing.assert_allclose(field.to_voxel(field.to_mm([[1, 2, 3]], finer), finer), [[1, 2, 3]])
    grid = field.on_grid(finer)
    np.testing.assert_allclose(grid.spacing, (20, 20 / 0.75, 8))
    np.testing.assert_allclose(grid.origin, (-2, -8, -6))
    np.testing.assert_allclose(grid.control[1] * 0.75, field.control_mm[1])
    turned = affine[:, [1, 0, 2, 3]]
    with pytest.raises(ValueError, match="axes have other directions than those of the field's grid, expected equal"):
        field.on_grid(turned)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"control_mm": np.zeros((3, 2, 2))}, r"control_mm has shape \(3, 2, 2\), expected \(2, gy, gx\)"),
        ({"control_mm": np.full((2, 2, 2), np.nan)}, "control_mm holds values that are not finite"),
        ({"spacing_mm": (1, 0)}, r"spacing_mm is \[1.0, 0.0\], expected 2 numbers of mm above 0"),
        ({"origin_mm": (1, 0, 0)}, r"origin_mm is \[1.0, 0.0, 0.0\], expected 2 positions in mm"),
        ({"affine": np.eye(3)}, r"affine has shape \(3, 3\), expected \(4, 4\)"),
    ],
)
def test_impossible_fields_are_refused(change: dict, message: str) -> None:
    good = {"control_mm": np.zeros((2, 2, 2)), "spacing_mm": (1, 1), "origin_mm": (0, 0)}
    with pytest.raises(ValueError, match=message):
        ElasticField(**{**good, **change})


@pytest.mark.parametrize("name", ELASTIC_PRESETS)
@pytest.mark.parametrize("size", [(80, 100), (40, 64, 96)], ids=str)
def test_presets_make_the_grid_they_name(name: str, size: tuple[int, ...]) -> None:
    affine = np.diag([1.0, 2.0, 0.5, 1.0])
    voxel = np.diag(affine)[: len(size)]
    field = ELASTIC_PRESETS[name].draw(np.random.RandomState(0), size, affine)
    extent = (np.array(size) - 1) * voxel
    counts = field.control_mm.shape[1:]
    if name == "unet3d":
        np.testing.assert_allclose(field.spacing_mm, 32 * voxel)
        assert counts == tuple(math.ceil((n - 1) / 32) + 3 for n in size)
        assert (field.origin_mm + 32 * voxel == 0).all()
    else:
        assert counts == ({"unet": 3, "vnet": 2}[name],) * len(size)
        np.testing.assert_allclose(field.spacing_mm * (counts[0] - 1), extent)


PUBLISHED = {
    "unet": ElasticSettings(std=10.0, points=3, units="voxel", interpolate=True),
    "unet3d": ElasticSettings(std=4.0, spacing=32.0, units="voxel", interpolate=False),
    "vnet": ElasticSettings(std=15.0, points=2, units="mm", interpolate=False),
}


def test_presets_hold_the_numbers_of_their_papers() -> None:
    assert dict(ELASTIC_PRESETS) == PUBLISHED


@pytest.mark.parametrize(("name", "size"), [("unet", (240, 260)), ("unet3d", (80, 70, 60)), ("vnet", (80, 70, 60))])
def test_presets_move_their_control_points_by_as_much_as_the_papers(name: str, size: tuple[int, ...]) -> None:
    affine, published = np.diag([1.0, 2.0, 0.5, 1.0]), PUBLISHED[name]
    fields = [ELASTIC_PRESETS[name].draw(np.random.RandomState(seed), size, affine) for seed in range(120)]
    drawn = np.stack([field.control_mm for field in fields])
    if published.interpolate:  # then the displacement itself has that size at the control points
        grid = fields[0].control_mm.shape[1:]
        nodes = np.indices(grid).reshape(len(size), -1).T * fields[0].spacing_mm + fields[0].origin_mm
        drawn = np.stack([field.displacement(nodes).T for field in fields])
    unit = np.diag(affine)[: len(size)] if published.units == "voxel" else np.ones(len(size))
    axes = np.moveaxis(drawn, 1, 0).reshape(len(size), -1)
    np.testing.assert_allclose(axes.std(1), published.std * unit, rtol=0.08)
    np.testing.assert_allclose(axes.mean(1), 0, atol=0.15 * published.std * unit.max())


@pytest.mark.parametrize(
    ("name", "size", "spacing"),
    [
        ("unet", (572, 572), (1, 1, 1)),
        ("unet3d", (132, 132, 116), (1, 1, 1)),
        ("vnet", (128, 128, 64), (1, 1, 1.5)),
    ],
)
def test_at_the_size_of_the_papers_images_no_draw_has_to_be_weakened(
    name: str, size: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    affine = np.diag([*spacing, 1])
    bounds = [ELASTIC_PRESETS[name].draw(np.random.RandomState(s), size, affine).contraction for s in range(20)]
    assert max(bounds) < 0.9


def test_draws_have_the_size_that_is_set() -> None:
    affine = np.diag([1.0, 2.0, 0.5, 1.0])
    in_mm = ElasticSettings(std=3.0, spacing=5.0).draw(np.random.RandomState(0), (60, 60, 200), affine)
    np.testing.assert_allclose(in_mm.control_mm.std(axis=(1, 2, 3)), 3.0, rtol=0.05)
    in_voxels = ElasticSettings(std=3.0, spacing=5.0, units="voxel").draw(
        np.random.RandomState(0), (60, 60, 60), affine
    )
    np.testing.assert_allclose(in_voxels.control_mm.std(axis=(1, 2, 3)), (3, 6, 1.5), rtol=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"std": -1.0, "points": 3}, "std is -1.0, expected a number of mm from 0"),
        ({"std": 1.0}, "points is None and spacing is None, expected exactly one"),
        ({"std": 1.0, "points": 3, "spacing": 2.0}, "points is 3 and spacing is 2.0, expected exactly one"),
        ({"std": 1.0, "points": 1}, "points is 1, expected a whole number from 2"),
        ({"std": 1.0, "spacing": 0.0}, "spacing is 0.0, expected a number of mm above 0"),
        ({"std": 1.0, "points": 3, "units": "cm"}, "units is 'cm', expected 'mm' or 'voxel'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ElasticSettings(**settings)
