"""Traps of NIfTI headers: refused or named, never guessed."""

from __future__ import annotations

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample

from data_prep.dataset import main as make_dataset
from medseg.geometry import apply_affine, corner_displacement_mm, decompose, make_affine, spacing_of, straight_grid
from medseg.inference.case import read_case
from medseg.inference.errors import IntegrityError
from medseg.io.volumes.nifti import read_nifti, write_nifti

SHAPE = (10, 12, 14)
AFFINE = make_affine((0.9, 0.8, 2.5), (-31.0, 12.0, 55.0), "LPS")


def voxels(dtype: type = np.int16) -> np.ndarray:
    """Distinct values from air to bone."""
    return (np.arange(np.prod(SHAPE)) - 1000).reshape(SHAPE).astype(dtype)


def save(path: Path, sform: np.ndarray | None, qform: np.ndarray | None, unit: str = "mm") -> Path:
    image = nib.Nifti1Image(voxels(), AFFINE)
    image.set_sform(sform, code=0 if sform is None else 1)
    image.set_qform(qform, code=0 if qform is None else 1)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def sheared(angle_deg: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[1, 2] = 2.5 * np.tan(np.radians(angle_deg))
    return affine


@pytest.mark.trap("4.3-01")
def test_a_file_without_orientation_is_refused_by_every_reader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "a.nii", None, None)
    with pytest.raises(ValueError, match="codes are both 0, so the orientation is unknown"):
        read_nifti(path)
    with pytest.raises(IntegrityError, match="codes are both 0"):
        read_case(path)
    assert make_dataset(["--pair", str(path), str(path), "--out", str(tmp_path / "out")]) == 3
    assert "codes are both 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.trap("4.3-02")
def test_forms_that_disagree_are_named_and_the_spacing_is_the_affines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_affine((1.0, 1.0, 1.0), (-31.0, 12.0, 55.0), "LPS")
    path = save(tmp_path / "a.nii", AFFINE, other)
    assert nib.load(path).header.get_zooms() == (1.0, 1.0, 1.0)
    volume = read_nifti(path)
    np.testing.assert_allclose(spacing_of(volume.affine_ras), (0.9, 0.8, 2.5), rtol=1e-6)
    shift = corner_displacement_mm(AFFINE, other, SHAPE)
    text = f"sform and qform put the corners up to {shift:.3f} mm apart (spacing 0.9 x 0.8 x 2.5 and 1 x 1 x 1 mm)"
    assert volume.warnings[0].startswith(text)
    assert read_case(path).warnings == volume.warnings
    label = write_nifti(tmp_path / "label.nii", voxels() % 2, AFFINE)
    assert make_dataset(["--pair", str(path), str(label), "--out", str(tmp_path / "out")]) == 0
    assert text in capsys.readouterr().err


@pytest.mark.trap("4.3-02")
@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
def test_forms_that_agree_raise_no_warning_near_a_half_turn_either(tmp_path: Path, codes: str) -> None:
    turn = np.radians(179.97)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine = affine @ make_affine((0.7, 0.7, 1.25), (180, -170, 900), codes)
    image = nib.Nifti1Image(np.zeros((512, 512, 2), np.uint8), affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nib.save(image, tmp_path / "a.nii")
    assert read_nifti(tmp_path / "a.nii").warnings == ()


@pytest.mark.trap("4.3-03")
@pytest.mark.parametrize("angle", [0.5, 15.0])
def test_a_sheared_volume_is_named_with_its_angle(tmp_path: Path, angle: float) -> None:
    path = save(tmp_path / "a.nii", sheared(angle), None)
    assert decompose(read_nifti(path).affine_ras).shear_deg == pytest.approx(angle, abs=1e-4)
    (warning,) = read_case(path).warnings
    assert f"the axes are {angle:.2f} degrees off perpendicular" in warning
    assert read_nifti(save(tmp_path / "b.nii", AFFINE, AFFINE)).warnings == ()


@pytest.mark.trap("4.3-03")
def test_a_sheared_volume_can_be_resampled_to_one_that_itk_reads(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    path = save(tmp_path / "a.nii", sheared(15.0), None)
    with pytest.raises(RuntimeError, match="orthonormal direction cosines"):
        sitk.ReadImage(str(path))
    volume = read_nifti(path)
    spot = np.zeros(SHAPE, np.float32)
    spot[4, 5, 11] = 1.0
    grid = straight_grid(volume.affine_ras, SHAPE)
    image = MetaTensor(torch.from_numpy(spot[None]), affine=torch.from_numpy(volume.affine_ras))
    resample = SpatialResample(mode="bilinear", padding_mode="zeros", dtype=torch.float64)
    straight = resample(image, dst_affine=torch.from_numpy(grid.affine), spatial_size=grid.shape)[0].numpy()
    weights = straight / straight.sum()
    mean = apply_affine(grid.affine, [(weights * index).sum() for index in np.indices(grid.shape)])
    np.testing.assert_allclose(mean, apply_affine(volume.affine_ras, (4, 5, 11)), atol=0.3)
    write_nifti(tmp_path / "straight.nii", straight, grid.affine)
    assert sitk.ReadImage(str(tmp_path / "straight.nii")).GetSize() == grid.shape


@pytest.mark.trap("4.3-04")
@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_units_other_than_millimetres_are_refused_with_their_name(tmp_path: Path, unit: str) -> None:
    path = save(tmp_path / "a.nii", AFFINE, AFFINE, unit)
    with pytest.raises(ValueError, match=f"spatial unit is {unit}, expected mm"):
        read_nifti(path)
    with pytest.raises(IntegrityError, match=f"spatial unit is {unit}"):
        read_case(path)


@pytest.mark.trap("4.3-10")
@pytest.mark.parametrize(("slope", "inter"), [(0.0, 0.0), (0.0, -1024.0), (float("nan"), float("nan"))])
def test_a_slope_of_zero_or_nan_means_no_scaling(tmp_path: Path, slope: float, inter: float) -> None:
    path = save(tmp_path / "a.nii", AFFINE, AFFINE)
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, slope, inter)  # the header's fields scl_slope and scl_inter
    path.write_bytes(content)
    volume = read_nifti(path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, voxels())


@pytest.mark.trap("4.3-10")
def test_a_known_voxel_has_the_scaled_value(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", AFFINE, AFFINE)
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, 0.5, -1024.0)
    path.write_bytes(content)
    assert read_nifti(path).array[3, 4, 5] == voxels()[3, 4, 5] * 0.5 - 1024


@pytest.mark.trap("4.3-22")
def test_a_fourth_axis_of_length_one_is_dropped_and_a_longer_one_refused(tmp_path: Path) -> None:
    for count in (1, 2):
        nib.save(nib.Nifti1Image(np.stack([voxels()] * count, axis=-1), AFFINE), tmp_path / f"{count}.nii")
    np.testing.assert_array_equal(read_nifti(tmp_path / "1.nii").array, voxels())
    assert read_case(tmp_path / "1.nii").array.shape == SHAPE
    with pytest.raises(ValueError, match=r"shape \(10, 12, 14, 2\), expected three axes"):
        read_nifti(tmp_path / "2.nii")
