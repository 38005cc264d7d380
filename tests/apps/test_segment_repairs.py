"""``medseg segment`` on irregular series: the repair options of ``data_prep.convert``, and results back to DICOM."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from data_prep.convert import main as convert
from data_prep.to_dicom import main as to_dicom
from medseg.apps.cli import main
from medseg.geometry import apply_affine, flip_lps_ras
from medseg.inference import ConfigurationError, read_case, segment
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.results.frames import frame_geometry
from medseg.io.volumes.nifti import read_nifti
from tests.inference._tiny_bundle import make_tiny_bundle
from tests.io._dicom_phantom import write_phantom

SHEAR = ["--on-tilt", "shear"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def tilted(tmp_path: Path) -> Path:
    write_phantom(tmp_path / "ct", [20.0 + 2.0 * k for k in range(10)], 15.0, FrameOfReferenceUID="1.2.9")
    return tmp_path / "ct"


def run(case: Path, out: Path, bundle: Path, *more: str) -> int:
    return main(["segment", "-i", str(case), "-o", str(out), "--bundle", str(bundle), "--device", "cpu", *more])


def test_the_remedy_that_is_named_is_taken(
    tilted: Path, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tilted, tmp_path / "out", bundle) == 3
    assert "straighten the slices with --on-tilt shear" in capsys.readouterr().err
    assert run(tilted, tmp_path / "out", bundle, *SHEAR) == 0
    assert "warning: repaired (shear): gantry tilt of 15.00 degrees" in capsys.readouterr().err
    assert convert([str(tilted), str(tmp_path / "nifti"), *SHEAR]) == 0
    mask, image = read_nifti(tmp_path / "out" / "seg.nii.gz"), read_nifti(tmp_path / "nifti" / "ct.nii.gz")
    assert mask.array.shape == image.array.shape
    assert mask.affine_ras == pytest.approx(image.affine_ras, abs=1e-5)
    report = json.loads((tmp_path / "out" / "run.json").read_text())
    sidecar = json.loads((tmp_path / "nifti" / "ct.json").read_text())
    assert report["input"]["repairs"] == sidecar["repairs"]
    assert report["input"]["repair_policy"] == sidecar["repair_policy"]


def test_dicom_results_lie_on_the_original_slices_and_the_residual_is_said(
    tilted: Path, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tilted, tmp_path / "out", bundle, *SHEAR, "--output-type", "dicom_seg", "rtstruct") == 0
    text = capsys.readouterr().err
    assert "seg.dcm: taken back through the repair to" in text
    assert "rtstruct.dcm: taken back through the repair to" in text
    warnings = json.loads((tmp_path / "out" / "run.json").read_text())["warnings"]
    assert sum("taken back through the repair" in line for line in warnings) == 2
    data = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    geometry = frame_geometry(data, "seg.dcm")
    frames = np.atleast_3d(data.pixel_array)
    points = np.concatenate(
        [
            geometry.positions_lps[f]
            + np.argwhere(frame)[:, 1:] * geometry.pixel_spacing_mm[1] * geometry.orientation[:3]
            + np.argwhere(frame)[:, :1] * geometry.pixel_spacing_mm[0] * geometry.orientation[3:]
            for f, frame in enumerate(frames)
        ]
    )
    mask = read_nifti(tmp_path / "out" / "seg.nii.gz")
    before = flip_lps_ras(apply_affine(mask.affine_ras, np.argwhere(mask.array == 1))).mean(axis=0)
    assert points.mean(axis=0) == pytest.approx(before, abs=0.3)


def test_the_mask_goes_back_later_by_run_json(tilted: Path, tmp_path: Path, bundle: Path) -> None:
    assert run(tilted, tmp_path / "out", bundle, *SHEAR) == 0
    words = ["--mask", str(tmp_path / "out" / "seg.nii.gz"), "--series", str(tilted), "--out", str(tmp_path / "a.dcm")]
    assert to_dicom([*words, "--type", "seg", "--repaired", str(tmp_path / "out" / "run.json")]) == 0
    assert (tmp_path / "a.dcm").is_file()


def test_gaps_and_one_stretch_of_a_split_series(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantom(tmp_path / "ct", [20.0, 22.0, 24.0, 34.0, 36.0, 38.0, 40.0], FrameOfReferenceUID="1.2.9")
    assert run(tmp_path / "ct", tmp_path / "out", bundle) == 3
    assert "--on-gap" in capsys.readouterr().err
    assert run(tmp_path / "ct", tmp_path / "out", bundle, "--on-gap", "split") == 3
    assert "choose it with --part N" in capsys.readouterr().err
    assert run(tmp_path / "ct", tmp_path / "out", bundle, "--on-gap", "split", "--part", "2") == 0
    assert read_nifti(tmp_path / "out" / "seg.nii.gz").array.shape[2] == 4
    assert run(tmp_path / "ct", tmp_path / "two", bundle, "--on-gap", "resample", "--max-gap", "4") == 0
    assert read_nifti(tmp_path / "two" / "seg.nii.gz").array.shape[2] == 11


def test_a_dry_run_takes_them_too(
    tilted: Path, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tilted, tmp_path / "out", bundle, "--dry-run") == 3
    capsys.readouterr()
    assert run(tilted, tmp_path / "out", bundle, "--dry-run", *SHEAR) == 0
    assert "repaired (shear)" in capsys.readouterr().out


def test_wrong_usage_is_one_line(
    tilted: Path, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tilted, tmp_path / "out", bundle, "--max-gap", "-1") == 2
    assert "--max-gap: max_gap is -1" in capsys.readouterr().err
    assert convert([str(tilted), str(tmp_path / "nifti"), *SHEAR]) == 0
    capsys.readouterr()
    assert run(tmp_path / "nifti" / "ct.nii.gz", tmp_path / "out", bundle, *SHEAR) == 2
    assert "is a file; policy (--on-tilt, --on-gap ...) repairs the slices of a DICOM series" in capsys.readouterr().err


def test_from_python(tilted: Path, tmp_path: Path, bundle: Path) -> None:
    policy = GeometryPolicy(tilt="shear")
    result = segment(tilted, bundle, device="cpu", policy=policy)
    assert result.mask.shape == read_case(tilted, policy=policy).array.shape
    result.save(tmp_path / "out", output_types="rtstruct")
    assert (tmp_path / "out" / "rtstruct.dcm").is_file()
    with pytest.raises(ConfigurationError, match="only the slices of a DICOM series"):
        read_case(np.zeros((4, 4, 4), np.int16), affine_ras=np.eye(4), policy=policy)


def test_a_remedy_of_another_command_names_it(
    tilted: Path, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in tilted.iterdir():
        data = pydicom.dcmread(path)
        data.BurnedInAnnotation = "YES"
        data.save_as(path)
    assert run(tilted, tmp_path / "out", bundle) == 3
    assert "add data_prep.convert --allow-burned-in" in capsys.readouterr().err


def test_the_real_tilted_head(real_data, tmp_path: Path, bundle: Path) -> None:
    folder = real_data("dicom_tilt_ge")
    words = [*SHEAR, "--on-gap", "resample", "--output-type", "rtstruct"]
    assert run(folder, tmp_path / "out", bundle, *words) == 0
    warnings = json.loads((tmp_path / "out" / "run.json").read_text())["warnings"]
    assert any("taken back through the repair to 28 original slice(s)" in line for line in warnings)
