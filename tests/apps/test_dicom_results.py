"""``medseg segment --output-type``: the mask beside the images in the archive."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medseg.datasets.phantom.ct_writer import write_ct_series
from medseg.io.results.rtstruct_read import read_rtstruct
from medseg.io.results.seg_read import read_seg
from medseg.io.results.source import read_source
from medseg.io.volumes.nifti import read_nifti
from tests.apps.test_segment import ball_in_air, odd_case, segment
from tests.inference._tiny_bundle import THRESHOLD_HU, make_tiny_bundle
from tests.io._clinical import series_affine


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def series(tmp_path: Path) -> Path:
    affine = series_affine((1, 0, 2), (False, True, True))
    write_ct_series(
        tmp_path / "ct", ball_in_air(), affine, patient_id="P-7", series_description="s", patient_name="Canary^Carl"
    )
    return tmp_path / "ct"


def test_dicom_results_hold_the_mask_and_refer_to_the_series(tmp_path: Path, bundle: Path, series: Path) -> None:
    out = tmp_path / "out"
    assert segment(series, out, bundle, "--output-type", "dicom_seg", "rtstruct", "--quiet") == 0
    mask, source = read_nifti(out / "seg.nii.gz"), read_source(series)
    assert mask.array.sum() == (ball_in_air() > THRESHOLD_HU).sum()
    for masks in (read_seg(out / "seg.dcm", source), read_rtstruct(out / "rtstruct.dcm", source)):
        assert [item.info.name for item in masks.segments] == ["bright tissue"]
        assert np.array_equal(masks.label_map(), mask.array)
    data = pydicom.dcmread(out / "seg.dcm")
    assert data.SegmentSequence[0].SegmentAlgorithmName == "tiny_threshold 0.1.0"
    assert data.PatientID == "P-7"
    report = json.loads((out / "run.json").read_text())
    assert {"seg.dcm", "rtstruct.dcm"} <= {output["path"] for output in report["outputs"]}
    for name in ("run.json", "statistics.json", "medseg.log"):
        assert "Canary" not in (out / name).read_text()


def test_a_file_has_no_series_to_refer_to(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = odd_case(tmp_path / "case.nii")
    assert segment(case, tmp_path / "out", bundle, "--ot", "rtstruct", "--quiet") == 2
    assert "needs a folder with a DICOM series" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_series_that_results_cannot_refer_to_is_refused_before_anything_runs(
    tmp_path: Path, bundle: Path, series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in series.iterdir():
        data = pydicom.dcmread(path)
        data.FrameOfReferenceUID = ""
        data.save_as(path)
    assert segment(series, tmp_path / "out", bundle, "--ot", "dicom_seg") == 3
    err = capsys.readouterr().err
    assert "no FrameOfReferenceUID" in err
    assert "run bundle" not in err
