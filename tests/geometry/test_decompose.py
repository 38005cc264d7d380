"""Affines in parts, against SciPy's polar decomposition and angles set by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import polar
from scipy.spatial.transform import Rotation

from medseg.geometry import apply_affine, decompose, make_affine, straight_grid


def sheared(angle_deg: float = 15.0) -> np.ndarray:
    """Slices of 2.5 mm that advance tilted by an angle, as under a tilted gantry, in an oblique frame."""
    tilt, affine = np.radians(angle_deg), np.eye(4)
    columns = np.array([[0.8, 0, 0], [0, 0.8, 2.5 * np.tan(tilt)], [0, 0, 2.5]])
    affine[:3, :3] = Rotation.from_euler("zyx", (10, 20, 30), degrees=True).as_matrix() @ columns
    affine[:3, 3] = (-100, 50, 700)
    return affine


@pytest.mark.parametrize("seed", range(5))
def test_parts_make_the_affine_again_and_agree_with_scipy(seed: int) -> None:
    random = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3] = random.normal(size=(3, 4)) * (1, 1, 3, 50)
    parts = decompose(affine)
    np.testing.assert_allclose(parts.compose(), affine, atol=1e-10)
    rotation, stretch = polar(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    np.testing.assert_allclose(parts.rotation, rotation, atol=1e-10)
    np.testing.assert_allclose(parts.shear, stretch, atol=1e-10)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "RPS", "SLP"])
def test_without_shear_the_parts_are_what_the_affine_was_made_of(codes: str) -> None:
    affine = make_affine((0.7, 0.9, 2.5), (1, 2, 3), codes)
    parts = decompose(affine)
    np.testing.assert_allclose(parts.spacing_mm, (0.7, 0.9, 2.5))
    np.testing.assert_allclose(parts.rotation * parts.spacing_mm, affine[:3, :3], atol=1e-12)
    np.testing.assert_allclose(parts.shear, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(parts.origin_mm, (1, 2, 3))
    assert parts.shear_deg == pytest.approx(0.0, abs=1e-9)
    assert np.linalg.det(parts.rotation) == pytest.approx(np.sign(np.linalg.det(affine)))


@pytest.mark.parametrize("angle", [0.0, 0.5, 15.0, 40.0])
def test_the_shear_angle_is_the_gantry_tilt(angle: float) -> None:
    assert decompose(sheared(angle)).shear_deg == pytest.approx(angle, abs=1e-9)


def test_the_straight_grid_holds_every_voxel_of_the_sheared_one() -> None:
    affine, shape = sheared(), (6, 7, 20)
    grid = straight_grid(affine, shape)
    parts = decompose(grid.affine)
    assert parts.shear_deg == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(parts.spacing_mm, decompose(affine).spacing_mm)
    every = apply_affine(np.linalg.inv(grid.affine), apply_affine(affine, np.argwhere(np.ones(shape))))
    assert every.min() > -1e-2
    assert np.all(every.max(axis=0) < np.array(grid.shape) - 1 + 1e-2)
    assert np.all(every.max(axis=0) > np.array(grid.shape) - 2)  # and no row more than needed


@pytest.mark.parametrize("codes", ["RAS", "PIL"])
def test_a_straight_grid_is_given_back_as_it_is(codes: str) -> None:
    affine = make_affine((0.7, 0.9, 2.5), (-11, 22, 33), codes)
    grid = straight_grid(affine, (6, 7, 1))
    np.testing.assert_allclose(grid.affine, affine, atol=1e-12)
    assert grid.shape == (6, 7, 1)


def test_what_is_no_affine_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite and invertible"):
        decompose(np.zeros((4, 4)))
