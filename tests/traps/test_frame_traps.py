"""Traps of frames and array orders: one voxel, one place, whatever the format and the reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.transforms import LoadImage

from medseg.geometry import compare_grids, make_affine, voxel_to_world, world_to_voxel
from medseg.io.ct.series import read_series
from medseg.io.volumes.nifti import read_nifti, write_nifti
from tests.io._dicom_files import positions, stored_pixels, write_series

SHAPE = (10, 20, 30)
SPOT = (2, 5, 7)
VOXELS = [(0, 0, 0), SPOT, (9, 0, 0), (0, 19, 0), (0, 0, 29), (9, 19, 29)]


def spot() -> np.ndarray:
    array = np.zeros(SHAPE, np.int16)
    array[SPOT] = 1000
    return array


def oblique() -> np.ndarray:
    a, b = np.radians(20), np.radians(-30)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([-0.7, -0.8, 2.5])
    affine[:3, 3] = (98.2, -46.0, -582.5)
    return affine


@pytest.mark.trap("4.3-05")
def test_points_survive_the_way_through_metaimage_and_nrrd(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    affine = oblique()
    previous = write_nifti(tmp_path / "a.nii.gz", spot(), affine)
    for name in ("b.mha", "c.nrrd", "d.nii.gz"):
        image = sitk.ReadImage(str(previous))
        for voxel in VOXELS:
            found = image.TransformIndexToPhysicalPoint(voxel)
            np.testing.assert_allclose(voxel_to_world(voxel, affine, "LPS"), found, atol=1e-3)
            np.testing.assert_allclose(world_to_voxel(found, affine, "LPS"), voxel, atol=2e-3)
        sitk.WriteImage(image, str(tmp_path / name))
        previous = tmp_path / name
    last = read_nifti(previous)
    np.testing.assert_array_equal(last.array, spot())
    for voxel in VOXELS:
        there = voxel_to_world(voxel, last.affine_ras, "RAS")
        np.testing.assert_allclose(there, voxel_to_world(voxel, affine, "RAS"), atol=1e-3)
    metaimage = LoadImage(reader="ITKReader")(tmp_path / "b.mha")
    np.testing.assert_allclose(metaimage.affine, affine, atol=1e-4)


@pytest.mark.trap("4.3-06")
def test_every_reader_puts_the_spot_where_it_was_written(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    affine = make_affine((0.7, 0.8, 2.5), (98.2, -46.0, -582.5), "LPS")
    path = write_nifti(tmp_path / "a.nii.gz", spot(), affine)
    reversed_array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert reversed_array.shape == SHAPE[::-1]
    assert reversed_array[SPOT[::-1]] == 1000
    assert read_nifti(path).array[SPOT] == 1000
    for reader in ("NibabelReader", "ITKReader"):
        image = LoadImage(reader=reader, ensure_channel_first=True)(path)
        assert tuple(image.shape) == (1, *SHAPE)
        assert image[(0, *SPOT)] == 1000
        np.testing.assert_allclose(
            voxel_to_world(SPOT, image.affine.numpy(), "LPS"), voxel_to_world(SPOT, affine, "LPS"), atol=1e-4
        )


@pytest.mark.trap("4.3-08")
def test_float32_noise_leaves_a_grid_the_same(tmp_path: Path) -> None:
    affine, shape = oblique(), (512, 512, 400)
    noisy = affine * (1 + np.random.default_rng(0).uniform(-1, 1, (4, 4)) * np.finfo(np.float32).eps)
    for other in (affine.astype(np.float32), noisy):
        assert not np.array_equal(other, affine)
        found = compare_grids(other, shape, affine, shape)
        assert found.kind == "same"
        assert 0 < found.displacement_mm < 1e-3
    written = read_nifti(write_nifti(tmp_path / "a.nii.gz", spot(), affine))
    assert compare_grids(written.affine_ras, SHAPE, affine, SHAPE).kind == "same"


def write_nrrd(path: Path, array: np.ndarray, space: str, directions: np.ndarray, origin: np.ndarray) -> Path:
    """A NRRD file by hand: text header, then the raw voxels, first axis fastest."""

    def vector(values: np.ndarray) -> str:
        return f"({','.join(repr(float(value)) for value in values)})"

    header = (
        f"NRRD0004\ntype: short\ndimension: 3\nspace: {space}\nsizes: {' '.join(map(str, array.shape))}\n"
        f"space directions: {' '.join(vector(step) for step in directions.T)}\nkinds: domain domain domain\n"
        f"endian: little\nencoding: raw\nspace origin: {vector(origin)}\n\n"
    )
    path.write_bytes(header.encode() + array.astype("<i2").tobytes(order="F"))
    return path


@pytest.mark.trap("4.3-19")
def test_nrrd_files_in_ras_and_in_lps_load_equal(tmp_path: Path) -> None:
    pytest.importorskip("itk")
    affine, change = oblique(), np.diag([-1.0, -1.0, 1.0])
    files = [
        write_nrrd(tmp_path / "ras.nrrd", spot(), "right-anterior-superior", affine[:3, :3], affine[:3, 3]),
        write_nrrd(
            tmp_path / "lps.nrrd", spot(), "left-posterior-superior", change @ affine[:3, :3], change @ affine[:3, 3]
        ),
    ]
    for path in files:
        image = LoadImage(reader="ITKReader", ensure_channel_first=True)(path)
        assert image[(0, *SPOT)] == 1000
        np.testing.assert_allclose(image.affine, affine, atol=1e-6)


@pytest.mark.trap("4.3-20")
@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "FFP", "HFDR"])
def test_the_patient_position_changes_nothing_that_the_orientation_says(tmp_path: Path, position: str) -> None:
    where = positions(4)
    write_series(tmp_path / "plain", where)
    write_series(tmp_path / "named", where, PatientPosition=position)
    plain, named = read_series(tmp_path / "plain"), read_series(tmp_path / "named")
    np.testing.assert_array_equal(named.array, plain.array)
    np.testing.assert_array_equal(named.affine_ras, plain.affine_ras)


@pytest.mark.trap("4.3-20")
def test_a_prone_patient_lies_where_the_cosines_say(tmp_path: Path) -> None:
    prone = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    where = positions(4, orientation=prone, origin=(120.0, 90.0, -30.0))
    write_series(tmp_path, where, prone, PatientPosition="HFP")
    series = read_series(tmp_path)
    for i, j, k in [(0, 0, 0), (4, 0, 1), (2, 5, 3)]:
        lps = np.subtract(where[k], (0.6 * i, 0.7 * j, 0))
        np.testing.assert_allclose(voxel_to_world((i, j, k), series.affine_ras, "LPS"), lps, atol=1e-5)
        assert series.array[i, j, k] == stored_pixels(k)[j, i] - 1024


@pytest.mark.trap("4.3-10")
def test_every_slice_has_its_own_rescaling(tmp_path: Path) -> None:
    slopes, intercepts = (1, 2, 1), (-1024, -2000, 0)

    def rescale(k: int, data: object) -> None:
        data.RescaleSlope, data.RescaleIntercept = slopes[k], intercepts[k]

    write_series(tmp_path, positions(3), change=rescale)
    series = read_series(tmp_path)
    for k in range(3):
        assert series.array[3, 2, k] == stored_pixels(k)[2, 3] * slopes[k] + intercepts[k]
