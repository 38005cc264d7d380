"""Points between voxels, RAS and LPS, against a matrix written by hand and SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from medseg.geometry import voxel_to_world, world_affine, world_to_voxel

# Array axes run to the left (2 mm), to the head (3 mm) and backwards (5 mm); voxel (0, 0, 0) lies at (10, 20, 30) RAS.
BY_HAND = np.array([[-2.0, 0, 0, 10], [0, 0, -5, 20], [0, 3, 0, 30], [0, 0, 0, 1]])


def oblique() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", (20, -35, 70), degrees=True).as_matrix() * (0.7, 0.8, 2.5)
    affine[:3, 3] = (-120.5, 33.25, 812.0)
    return affine


def test_a_voxel_has_the_positions_computed_by_hand_in_both_frames() -> None:
    np.testing.assert_array_equal(voxel_to_world([1, 2, 3], BY_HAND, "RAS"), [8, 5, 36])
    np.testing.assert_array_equal(voxel_to_world([1, 2, 3], BY_HAND, "LPS"), [-8, -5, 36])
    np.testing.assert_allclose(world_to_voxel([8, 5, 36], BY_HAND, "RAS"), [1, 2, 3])
    np.testing.assert_allclose(world_to_voxel([-8, -5, 36], BY_HAND, "LPS"), [1, 2, 3])


@pytest.mark.parametrize("frame", ["RAS", "LPS"])
def test_there_and_back_is_the_identity_for_any_shape_of_points(frame: str) -> None:
    points = np.random.default_rng(0).uniform(-500, 500, (2, 4, 3))
    there = world_to_voxel(points, oblique(), frame)
    assert there.shape == points.shape
    np.testing.assert_allclose(voxel_to_world(there, oblique(), frame), points, atol=1e-9)


def test_positions_in_lps_are_those_of_simpleitk() -> None:
    sitk = pytest.importorskip("SimpleITK")
    affine = oblique()
    lps = world_affine(affine, "LPS")
    image = sitk.Image(4, 5, 6, sitk.sitkUInt8)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    for voxel in ((0, 0, 0), (3, 0, 1), (1, 4, 5)):
        point = image.TransformIndexToPhysicalPoint(voxel)
        np.testing.assert_allclose(voxel_to_world(voxel, affine, "LPS"), point, atol=1e-9)
        np.testing.assert_allclose(world_to_voxel(point, affine, "LPS"), voxel, atol=1e-9)


def test_unknown_frames_and_matrices_that_are_no_affine_are_refused() -> None:
    for function in (voxel_to_world, world_to_voxel):
        with pytest.raises(ValueError, match="frame is 'ras', expected 'RAS'"):
            function([0, 0, 0], BY_HAND, "ras")
        with pytest.raises(ValueError, match="not finite and invertible"):
            function([0, 0, 0], np.diag([1.0, 1, 0, 1]), "LPS")
        with pytest.raises(ValueError, match=r"points have shape \(2, 2\), expected \(\.\.\., 3\)"):
            function([[0, 0], [1, 1]], BY_HAND, "RAS")
