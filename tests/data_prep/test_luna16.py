from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.lidc import main as convert
from data_prep.luna16 import main
from medseg.geometry import make_affine
from medseg.io.volumes.image import write_image

HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
LIDC_0001 = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"


def _run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    affine = make_affine((0.5, 0.5, 2.0), (10.0, 20.0, -30.0), "LPS")
    return write_image(tmp_path / "1.2.3.mhd", np.zeros((40, 50, 10), np.int16), affine)


def test_rows_of_the_image_are_shown_as_voxels(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "a.csv"
    table.write_text(HEAD + "1.2.3,-5,-10,-26,6\n9,0,0,0,3\n1.2.3,-5,-10,100,6\n")
    assert _run("--csv", table, "--image", image, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["findings"]
    assert first["voxel"] == [10.0, 20.0, 2.0]
    assert (first["inside"], second["inside"]) == (True, False)
    assert first["nodule_id"] is None
    assert _run("--csv", table, "--image", image) == 0
    assert "10.00, 20.00, 2.00" in capsys.readouterr().out


def test_a_series_without_rows_and_wrong_nodules_are_refused(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "a.csv"
    table.write_text(HEAD + "1.2.3,-5,-10,-26,6\n")
    assert _run("--csv", table, "--image", image, "--series", "7") == 3
    assert "no row for series 7" in capsys.readouterr().err
    wrong = tmp_path / "nodules.json"
    wrong.write_text('[{"nodule_id": 1, "centre_lps_mm": null}]')
    assert _run("--csv", table, "--image", image, "--nodules", wrong) == 3
    assert "not a nodules.json of data_prep.lidc with centres" in capsys.readouterr().err


def test_the_real_case_lies_where_luna16_says(real_data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert convert(["--dicom", str(real_data("lidc/LIDC-IDRI-0001")), "--out", str(out), "--allow-partial"]) == 0
    capsys.readouterr()
    words = ["--csv", real_data("luna16/annotations.csv"), "--image", out / "ct.nii.gz", "--series", LIDC_0001]
    assert _run(*words, "--nodules", out / "nodules.json", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["findings"]
    assert row["centre_lps_mm"] == pytest.approx([56.208, 86.343, -115.868], abs=1e-3)
    assert row["diameter_mm"] == pytest.approx(23.35, abs=0.01)
    assert row["nodule_id"] == 1
    assert row["distance_mm"] == pytest.approx(0.21, abs=0.005)
    assert row["inside"]
