"""Contours in millimetres on slices and as masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest

from medseg.geometry import contour_to_slice, contour_to_world, fill_contour, make_affine, voxel_to_world
from medseg.geometry.planar import SliceContour

TRIANGLE = np.array([[1.0, 1.0], [6.0, 1.5], [3.0, 7.25]])


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "PIL"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("frame", ["RAS", "LPS"])
def test_a_contour_comes_back_to_its_slice(codes: str, axis: int, frame: str) -> None:
    affine = make_affine((0.7, 0.8, 2.5), (-50, 60, 70), codes)
    contour = SliceContour(axis, 11, TRIANGLE)
    points = contour_to_world(contour, affine, frame)
    found = contour_to_slice(points, affine, frame, axis)
    assert (found.axis, found.slice_index) == (axis, 11)
    np.testing.assert_allclose(found.points_vox, TRIANGLE, atol=1e-9)


def test_vertices_are_the_voxels_positions() -> None:
    affine = make_affine((2, 3, 5), (10, 20, 30), "LSP")
    points = contour_to_world(SliceContour(1, 4, np.array([[7.0, 9.0]])), affine, "LPS")
    np.testing.assert_allclose(points, voxel_to_world([[7, 4, 9]], affine, "LPS"))


def test_the_wrong_frame_puts_the_contour_off_every_slice_and_is_refused() -> None:
    affine = make_affine((1, 1, 4), (0, 1.5, 0), "RSA")  # slices along anterior
    points = contour_to_world(SliceContour(2, 3, TRIANGLE), affine, "RAS")
    with pytest.raises(ValueError, match=r"voxels off slice -?\d+, expected at most 0\.1; check frame 'LPS'") as caught:
        contour_to_slice(points, affine, "LPS")
    assert "\n" not in str(caught.value)


def test_a_contour_across_slices_is_refused() -> None:
    with pytest.raises(ValueError, match=r"contour lies at 0\.000 to 2\.000 along array axis 2, up to 1\.000 voxels"):
        contour_to_slice([[0, 0, 0], [5, 0, 1], [5, 5, 2]], np.eye(4), "RAS")


def test_too_few_points_and_unknown_axes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least three points of shape \(n, 3\), got shape \(2, 3\)"):
        contour_to_slice(np.zeros((2, 3)), np.eye(4), "RAS")
    with pytest.raises(ValueError, match="axis is 3, expected 0, 1 or 2"):
        contour_to_slice(np.zeros((3, 3)), np.eye(4), "RAS", axis=3)
    with pytest.raises(ValueError, match=r"at least three points of shape \(n, 2\), got shape \(2, 2\)"):
        fill_contour(np.zeros((2, 2)), (5, 5))


def test_a_rectangle_between_voxel_centres_fills_the_centres_it_holds() -> None:
    mask = fill_contour([[0.5, 1.5], [3.5, 1.5], [3.5, 4.5], [0.5, 4.5]], (6, 7))
    expected = np.zeros((6, 7), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(mask, expected)


def test_the_area_of_a_large_disc_is_that_of_the_circle() -> None:
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    points = np.stack([60.3 + 50 * np.cos(angles), 70.6 + 50 * np.sin(angles)], axis=1)
    assert fill_contour(points, (130, 140)).sum() == pytest.approx(np.pi * 50**2, rel=2e-3)


def test_what_lies_outside_the_slice_is_cut_off() -> None:
    mask = fill_contour([[-10, -10], [2.5, -10], [2.5, 20], [-10, 20]], (5, 6))
    np.testing.assert_array_equal(mask, np.arange(5)[:, None].repeat(6, 1) < 3)


def test_a_real_body_contour_holds_the_body(real_data: Any) -> None:
    folder = real_data("rtstruct_dicompyler")
    ct, structures = pydicom.dcmread(folder / "ct.0.dcm"), pydicom.dcmread(folder / "rtss.dcm")
    origin, (row_mm, column_mm) = [float(x) for x in ct.ImagePositionPatient], ct.PixelSpacing
    # The slice's cosines are the axes of LPS themselves; the slices are 3 mm apart.
    affine_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ make_affine((column_mm, row_mm, 3.0), origin)
    contours = [
        np.reshape(contour.ContourData, (-1, 3)).astype(float)
        for contour in structures.ROIContourSequence[0].ContourSequence
        if abs(float(contour.ContourData[2]) - origin[2]) < 0.1
    ]
    body = max(contours, key=len)
    found = contour_to_slice(body, affine_ras, "LPS")
    assert found.slice_index == 0
    back = contour_to_world(found, affine_ras, "LPS")
    np.testing.assert_allclose(back[:, :2], body[:, :2], atol=1e-9)
    np.testing.assert_allclose(back[:, 2], body[:, 2], atol=0.01)
    mask = fill_contour(found.points_vox, (ct.Columns, ct.Rows)).T
    x, y = found.points_vox.T
    assert mask.sum() == pytest.approx(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2, rel=0.01)
    stored = ct.pixel_array
    assert np.median(stored[mask]) > np.median(stored[~mask]) + 500
