from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from data_prep.convert import main as convert
from data_prep.to_dicom import main
from medseg.io.results.rtstruct_read import read_rtstruct
from medseg.io.results.seg_read import read_seg
from medseg.io.volumes.image import read_image, write_image
from tests.io._clinical import Example, make_example, store_otherwise
from tests.io._dicom_phantom import write_phantom


@pytest.fixture
def example(tmp_path: Path) -> Example:
    made = make_example(tmp_path / "ct")
    mask, affine = store_otherwise(made.labels, made.affine_ras, (2, 0, 1), (True, False, True))
    write_image(tmp_path / "mask.nii.gz", mask, affine)
    (tmp_path / "names.json").write_text('{"1": "liver", "2": "liver tumour"}')
    return made


def run(folder: Path, *arguments: str, kind: str = "seg", mask: str = "mask.nii.gz") -> int:
    base = ["--mask", str(folder / mask), "--series", str(folder / "ct"), "--out", str(folder / "out.dcm")]
    return main([*base, "--type", kind, *arguments])


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def test_a_mask_in_another_order_becomes_a_segmentation(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--labels", str(tmp_path / "names.json")) == 0
    assert "SEG with 2 segment(s): 1 = liver (label 1), 2 = liver tumour (label 2)" in capsys.readouterr().out
    assert np.array_equal(read_seg(tmp_path / "out.dcm", example.source).label_map(), example.labels)


def test_a_mask_in_another_order_becomes_structures(example: Example, tmp_path: Path) -> None:
    names = str(tmp_path / "names.json")
    assert run(tmp_path, "--labels", names, "--holes", "separate", kind="rtstruct") == 0
    assert np.array_equal(read_rtstruct(tmp_path / "out.dcm", example.source).label_map(), example.labels)


def test_several_masks_are_segments_named_after_their_files(example: Example, tmp_path: Path) -> None:
    write_image(tmp_path / "liver.nii.gz", (example.labels > 0).astype(np.uint8), example.affine_ras)
    write_image(tmp_path / "spot.mha", (example.labels == 2).astype(np.uint8), example.affine_ras)
    masks = [str(tmp_path / "liver.nii.gz"), str(tmp_path / "spot.mha")]
    arguments = ["--series", str(tmp_path / "ct"), "--out", str(tmp_path / "out.dcm"), "--type", "seg"]
    assert main(["--mask", *masks, *arguments]) == 0
    read = read_seg(tmp_path / "out.dcm", example.source)
    assert [segment.info.name for segment in read.segments] == ["liver", "spot"]
    assert np.array_equal(read.mask(0), example.labels > 0)


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_a_label_that_occurs_nowhere_is_named(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    (tmp_path / "names.json").write_text('{"1": "liver", "2": "liver tumour", "7": "lung"}')
    assert run(tmp_path, "--labels", str(tmp_path / "names.json"), kind=kind) == 0
    assert "warning: 'lung' (label 7) occurs in no voxel; its segment is empty" in capsys.readouterr().err


def test_an_empty_mask_of_several_is_named(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "liver.nii.gz", (example.labels > 0).astype(np.uint8), example.affine_ras)
    write_image(tmp_path / "lung.nii.gz", np.zeros_like(example.labels), example.affine_ras)
    masks = [str(tmp_path / "liver.nii.gz"), str(tmp_path / "lung.nii.gz")]
    words = ["--series", str(tmp_path / "ct"), "--out", str(tmp_path / "out.dcm"), "--type", "seg"]
    assert main(["--mask", *masks, *words]) == 0
    assert "warning: 'lung' (label 2) occurs in no voxel" in capsys.readouterr().err


def test_json_tells_labels_and_numbers(example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--json", "--labels", str(tmp_path / "names.json"), "--labelmap") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(row["label"], row["number"], row["name"]) for row in facts["segments"]] == [
        (1, 1, "liver"),
        (2, 2, "liver tumour"),
    ]
    assert pydicom.dcmread(tmp_path / "out.dcm").SegmentationType == "LABELMAP"


def test_segments_without_codes_are_named_in_a_warning(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--algorithm", "manual") == 0
    captured = capsys.readouterr()
    assert captured.err.count("has no codes; it is written as 'Tissue'") == 2
    assert pydicom.dcmread(tmp_path / "out.dcm").SegmentSequence[0].SegmentAlgorithmType == "MANUAL"


def test_seed_and_time_make_the_file_repeatable(example: Example, tmp_path: Path) -> None:
    fixed = ["--uid-seed", "x", "--written-at", "2026-01-31T12:00:00", "--overwrite"]
    contents = []
    for _ in range(2):
        assert run(tmp_path, *fixed) == 0
        contents.append((tmp_path / "out.dcm").read_bytes())
    assert contents[0] == contents[1]


def test_a_mask_on_another_grid_is_refused_in_mm(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shifted = example.affine_ras.copy()
    shifted[0, 3] += 2.0
    write_image(tmp_path / "shifted.nii.gz", example.labels, shifted)
    assert run(tmp_path, mask="shifted.nii.gz") == 3
    text = error_line(capsys)
    assert "2.000 mm apart" in text
    assert "shifted.nii.gz" in text
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--type", "rtstruct", "--labelmap"], "--labelmap belongs to --type seg"),
        (["--written-at", "noon"], "expected a time such as"),
        (["--uid-seed", "a", "--uid-prefix", "1.2."], "exclude each other"),
        (["--mask", "absent.nii.gz"], "no such file"),
    ],
)
def test_wrong_usage_is_one_line(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(tmp_path, *arguments) == 2
    assert words in error_line(capsys)


def test_an_existing_file_is_kept_unless_told_otherwise(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.dcm").write_text("mine")
    assert run(tmp_path) == 2
    assert "--overwrite" in error_line(capsys)
    assert (tmp_path / "out.dcm").read_text() == "mine"


def test_a_label_without_a_name_is_refused(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.json").write_text('{"1": "liver"}')
    assert run(tmp_path, "--labels", str(tmp_path / "names.json")) == 3
    assert "label value 2 has no name" in error_line(capsys)


def test_help_says_that_the_patient_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "repeats name, ID, birth date and sex of the patient" in " ".join(capsys.readouterr().out.split())


class TestRepairedSeries:
    """A mask made on what ``convert`` repaired goes back to the original slices."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_phantom(tmp_path / "ct", [20.0 + 2.0 * k for k in range(10)], 15.0, FrameOfReferenceUID="1.2.9")
        assert convert([str(tmp_path / "ct"), str(tmp_path / "nifti"), "--on-tilt", "shear"]) == 0
        image = read_image(tmp_path / "nifti" / "ct.nii.gz")
        write_image(tmp_path / "mask.nii.gz", (image.array > 700).astype(np.uint8), image.affine_ras)
        return tmp_path

    @pytest.mark.parametrize("kind", ["seg", "rtstruct"])
    def test_by_the_record_and_by_the_options(
        self, folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        contents = []
        fixed = ["--uid-seed", "x", "--written-at", "2026-01-31T12:00:00", "--overwrite"]
        for words in (["--repaired", str(folder / "nifti" / "ct.json")], ["--on-tilt", "shear"]):
            assert run(folder, *words, *fixed, kind=kind) == 0
            contents.append((folder / "out.dcm").read_bytes())
            text = capsys.readouterr().out
            assert "taken back through the repair to" in text
            assert "at most 0.000 mm" in text if kind == "rtstruct" else "mm (mean" in text
        assert contents[0] == contents[1]

    def test_the_residual_is_in_the_json(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        capsys.readouterr()
        assert run(folder, "--on-tilt", "shear", "--json") == 0
        residual = json.loads(capsys.readouterr().out)["residual"]
        assert 0 < residual["largest_mm"] < 0.5
        assert residual["outside"] == residual["between"] == 0

    def test_without_either_the_error_names_both(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        capsys.readouterr()
        assert run(folder) == 3
        text = error_line(capsys)
        assert "--repaired" in text
        assert "--on-tilt shear" in text

    def test_an_uneven_series_names_them_too(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "ct" / "004.dcm").unlink()
        capsys.readouterr()
        assert run(folder) == 3
        assert "--repaired" in error_line(capsys)

    def test_a_record_of_another_series_is_refused(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_phantom(folder / "other", [20.0 + 2.0 * k for k in range(10)], 12.0, FrameOfReferenceUID="1.2.9")
        assert convert([str(folder / "other"), str(folder / "second"), "--on-tilt", "shear"]) == 0
        capsys.readouterr()
        assert run(folder, "--repaired", str(folder / "second" / "ct.json")) == 3
        assert "the repair recorded there is not the one that this series needs" in error_line(capsys)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("{", "cannot be read as JSON"),
            ('{"repairs": []}', "no record of a repair"),
            ('{"repairs": [1], "repair_policy": {"tilt": "shear"}}', "the record of the repair is no object with tilt"),
            (
                '{"repairs": [1], "repair_policy": {"tilt": "x", "gap": "refuse", "duplicate": "refuse", '
                '"variable": null, "max_gap": 1, "part": 0}}',
                "other values than expected",
            ),
        ],
    )
    def test_a_file_that_is_no_record(
        self, folder: Path, content: str, words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "a.json").write_text(content)
        capsys.readouterr()
        assert run(folder, "--repaired", str(folder / "a.json")) == 3
        assert words in error_line(capsys)

    def test_record_and_options_together_are_wrong_usage(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        capsys.readouterr()
        assert run(folder, "--repaired", str(folder / "nifti" / "ct.json"), "--on-gap", "resample") == 2
        assert "--repaired and --on-gap" in error_line(capsys)

    def test_a_stretch_of_a_split_series(self, tmp_path: Path) -> None:
        write_phantom(tmp_path / "ct", [20.0, 22.0, 24.0, 34.0, 36.0, 38.0, 40.0], FrameOfReferenceUID="1.2.9")
        assert convert([str(tmp_path / "ct"), str(tmp_path / "nifti"), "--on-gap", "split"]) == 0
        image = read_image(tmp_path / "nifti_2" / "ct.nii.gz")
        write_image(tmp_path / "mask.nii.gz", (image.array > 700).astype(np.uint8), image.affine_ras)
        assert run(tmp_path, "--repaired", str(tmp_path / "nifti_2" / "ct.json")) == 0
        assert run(tmp_path, "--on-gap", "split", "--part", "2", "--overwrite") == 0
        assert run(tmp_path, "--on-gap", "split", "--part", "1", "--overwrite") == 3

    def test_the_real_tilted_head(self, real_data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder, words = real_data("dicom_tilt_ge"), ["--on-tilt", "shear", "--on-gap", "resample"]
        assert convert([str(folder), str(tmp_path / "nifti"), *words]) == 0
        image = read_image(tmp_path / "nifti" / "ct.nii.gz")
        write_image(tmp_path / "mask.nii.gz", (image.array > 1000).astype(np.uint8), image.affine_ras)
        base = ["--mask", str(tmp_path / "mask.nii.gz"), "--series", str(folder), "--out", str(tmp_path / "o.dcm")]
        capsys.readouterr()
        assert main([*base, "--type", "rtstruct", "--repaired", str(tmp_path / "nifti" / "ct.json")]) == 0
        assert "taken back through the repair to 28 original slice(s)" in capsys.readouterr().out
