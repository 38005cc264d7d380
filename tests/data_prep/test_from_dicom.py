from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from data_prep.from_dicom import main
from medseg.geometry import corner_displacement_mm
from medseg.io.results.rtstruct_write import write_rtstruct
from medseg.io.results.seg_write import write_seg
from medseg.io.volumes.image import read_image, write_image
from tests.io._clinical import Example, make_example, store_otherwise

NAMES = {1: "liver", 2: "Liver Tumour!"}


@pytest.fixture
def example(tmp_path: Path) -> Example:
    made = make_example(tmp_path / "ct")
    write_seg(tmp_path / "seg.dcm", made.labels, made.affine_ras, made.source, NAMES)
    write_rtstruct(tmp_path / "rt.dcm", made.labels, made.affine_ras, made.source, NAMES)
    return made


def facts_of(folder: Path) -> dict:
    return json.loads((folder / "segments.json").read_text())


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


@pytest.mark.parametrize("name", ["seg.dcm", "rt.dcm"])
def test_every_segment_becomes_a_file_on_the_grid_of_the_series(example: Example, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    assert main([str(tmp_path / name), "--series", str(tmp_path / "ct"), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "001_liver.nii.gz",
        "002_liver_tumour.nii.gz",
        "segments.json",
    ]
    for value, file in ((1, "001_liver.nii.gz"), (2, "002_liver_tumour.nii.gz")):
        image = read_image(out / file)
        assert np.array_equal(image.array, example.labels == value)
        assert corner_displacement_mm(image.affine_ras, example.affine_ras, image.array.shape) < 1e-4
    first = facts_of(out)["segments"][0]
    assert (first["name"], first["voxels"]) == ("liver", int((example.labels == 1).sum()))
    assert first["volume_ml"] == pytest.approx(first["voxels"] * 0.7 * 0.8 * 2.5 / 1000)


@pytest.mark.parametrize("name", ["seg.dcm", "rt.dcm"])
def test_an_image_gives_grid_and_order(example: Example, tmp_path: Path, name: str) -> None:
    mask, affine = store_otherwise(example.labels, example.affine_ras, (1, 2, 0), (False, True, True))
    write_image(tmp_path / "like.nrrd", mask.astype(np.int16), affine)
    arguments = ["--like", str(tmp_path / "like.nrrd"), "--out", str(tmp_path / "out"), "--labelmap"]
    assert main([str(tmp_path / name), *arguments]) == 0
    assert np.array_equal(read_image(tmp_path / "out" / "labels.nii.gz").array, mask)


def test_patients_and_studies_reach_no_output(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--series", str(tmp_path / "ct"), "--out", str(tmp_path / "out"), "--json"]
    assert main([str(tmp_path / "seg.dcm"), *arguments]) == 0
    header = example.source.headers[0]
    texts = [capsys.readouterr().out, *(path.read_bytes().decode("latin-1") for path in (tmp_path / "out").iterdir())]
    for canary in ("Synthetic", "P-7", str(header.StudyInstanceUID)):
        assert all(canary not in text for text in texts)
    assert facts_of(tmp_path / "out")["source"]["series_uid"] == example.source.series_uid


def test_an_rtstruct_needs_a_grid(example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "rt.dcm"), "--out", str(tmp_path / "out")]) == 2
    assert "give --series DIR or --like IMAGE" in error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_overlapping_segments_make_files_but_no_label_map(
    real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(real_data("dicom_seg_dcmqi") / "partial_overlaps.dcm")
    assert main([path, "--out", str(tmp_path / "map"), "--labelmap"]) == 3
    assert "'GREEN' and 'ORANGE' share 3017 voxels" in error_line(capsys)
    assert not (tmp_path / "map").exists()
    assert main([path, "--out", str(tmp_path / "files")]) == 0
    assert [row["voxels"] for row in facts_of(tmp_path / "files")["segments"]] == [9602, 11888, 10743, 6693, 4713]


def test_fractions_are_kept_or_cut_at_a_threshold(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    path = str(real_data("dicom_seg_highdicom") / "seg_image_ct_true_fractional.dcm")
    assert main([path, "--out", str(tmp_path / "kept")]) == 0
    kept = read_image(tmp_path / "kept" / "001_first_segment.nii.gz").array
    assert kept.dtype == np.float32
    assert facts_of(tmp_path / "kept")["segments"][0]["fractional"] is True
    assert main([path, "--out", str(tmp_path / "cut"), "--threshold", "0.5"]) == 0
    cut = read_image(tmp_path / "cut" / "001_first_segment.nii.gz").array
    assert np.array_equal(cut, kept >= 0.5)


def test_warnings_are_printed_and_kept(
    real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(real_data("dicom_seg_dcmqi") / "sparse-labelmap-ppv5.dcm")
    assert main([path, "--out", str(tmp_path / "out")]) == 0
    assert "warning: slices 1 have no frame" in capsys.readouterr().err
    assert facts_of(tmp_path / "out")["warnings"]


def test_folders_are_replaced_only_on_request_and_only_if_they_are_ours(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "seg.dcm"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(arguments) == 2
    assert "--overwrite" in error_line(capsys)
    assert main([*arguments, "--overwrite"]) == 0
    (tmp_path / "out" / "segments.json").unlink()
    capsys.readouterr()
    assert main([*arguments, "--overwrite"]) == 2
    assert "was not written by this command" in error_line(capsys)


def test_other_files_are_refused(
    real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(real_data("dicom_seg_highdicom") / "sr_document.dcm")
    assert main([path, "--out", str(tmp_path / "out")]) == 3
    assert "expected a DICOM Segmentation" in error_line(capsys)
    assert main([str(tmp_path / "absent.dcm"), "--out", str(tmp_path / "out")]) == 2
    assert "no such file" in error_line(capsys)


def damage(path: Path) -> None:
    """The second structure lies far beyond the slices; in a segmentation, its frames do."""
    data = pydicom.dcmread(path)
    if data.Modality == "SEG":
        items = [
            item
            for item in data.PerFrameFunctionalGroupsSequence
            if item.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2
        ]
        for item in items:
            position = item.PlanePositionSequence[0].ImagePositionPatient
            position[2] = float(position[2]) + 500
    else:
        contour = data.ROIContourSequence[1].ContourSequence[0]
        contour.ContourData = [float(v) + 500 * (n % 3 == 2) for n, v in enumerate(contour.ContourData)]
    data.save_as(path)


@pytest.mark.parametrize("name", ["seg.dcm", "rt.dcm"])
def test_one_bad_structure_is_refused_and_the_others_are_written(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damage(tmp_path / name)
    out = tmp_path / "out"
    words = [str(tmp_path / name), "--series", str(tmp_path / "ct"), "--out", str(out)]
    assert main(words) == 4
    errors = capsys.readouterr().err
    assert errors.startswith("refused: Liver Tumour!: ")
    assert "slices of the grid" in errors
    assert sorted(path.name for path in out.iterdir()) == ["001_liver.nii.gz", "segments.json"]
    assert np.array_equal(read_image(out / "001_liver.nii.gz").array, example.labels == 1)
    facts = facts_of(out)
    assert [(row["number"], row["name"]) for row in facts["refused"]] == [(2, "Liver Tumour!")]
    assert [row["name"] for row in facts["segments"]] == ["liver"]
    assert facts["left_out"] == []


@pytest.mark.parametrize("name", ["seg.dcm", "rt.dcm"])
@pytest.mark.parametrize("choice", [["--skip", "Liver Tumour!"], ["--skip", "2"], ["--only", "liver"]])
def test_a_structure_that_is_not_wanted_is_not_judged(
    example: Example, tmp_path: Path, name: str, choice: list[str]
) -> None:
    damage(tmp_path / name)
    out = tmp_path / "out"
    assert main([str(tmp_path / name), "--series", str(tmp_path / "ct"), "--out", str(out), *choice]) == 0
    assert (facts_of(out)["refused"], facts_of(out)["left_out"]) == ([], ["Liver Tumour!"])


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (["--only", "2"], "Liver Tumour!|frames lie outside"),
        (["--only", "heart"], "--only 'heart' is the name of no (structure|segment); found liver = 1"),
        (["--skip", "1", "2"], "leave no (structure|segment) of 2"),
    ],
)
@pytest.mark.parametrize("name", ["seg.dcm", "rt.dcm"])
def test_a_choice_of_nothing_that_can_be_used_writes_nothing(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, choice: list[str], says: str
) -> None:
    damage(tmp_path / name)
    words = [str(tmp_path / name), "--series", str(tmp_path / "ct"), "--out", str(tmp_path / "out")]
    assert main([*words, *choice]) == 3
    assert re.search(says, error_line(capsys))
    assert not (tmp_path / "out").exists()


def test_empty_masks_and_unusual_numbers_are_said_and_recorded(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pydicom.dcmread(tmp_path / "rt.dcm")
    del data.ROIContourSequence[0].ContourSequence
    data.save_as(tmp_path / "rt.dcm")
    assert main([str(tmp_path / "rt.dcm"), "--series", str(tmp_path / "ct"), "--out", str(tmp_path / "out")]) == 0
    assert "warning: 'liver': it has no contours; its mask is empty" in capsys.readouterr().err
    assert facts_of(tmp_path / "out")["warnings"] == ["'liver': it has no contours; its mask is empty"]
