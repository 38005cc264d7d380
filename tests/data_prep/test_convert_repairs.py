from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import FileDataset

from data_prep.convert import main, part_path
from medseg.geometry.decompose import decompose
from tests.io._dicom_files import SERIES_UID, positions, write_series
from tests.io._dicom_phantom import write_phantom


@pytest.fixture
def gapped(tmp_path: Path) -> Path:
    where = positions(12)
    write_series(tmp_path / "dicom", where[:5] + where[6:])
    return tmp_path / "dicom"


def test_a_filled_gap_is_recorded_slice_by_slice(gapped: Path, tmp_path: Path) -> None:
    assert main([str(gapped), str(tmp_path / "out"), "--on-gap", "resample"]) == 0
    facts = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert facts["shape"] == [5, 6, 12]
    assert facts["repairs"][0]["rule"] == "resample"
    assert facts["sop_instance_uids"][5] == ""
    assert len(facts["source_sop_instance_uids"][5]) == 2
    assert [len(uids) for n, uids in enumerate(facts["source_sop_instance_uids"]) if n != 5] == [1] * 11


def test_a_straightened_tilt_gives_perpendicular_axes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_phantom(tmp_path / "dicom", [2.0 * k for k in range(6)], 15.0)
    assert main([str(tmp_path / "dicom"), str(tmp_path / "out"), "--on-tilt", "shear"]) == 0
    assert "warning: repaired (shear): gantry tilt of 15.00 degrees" in capsys.readouterr().err
    assert decompose(nib.load(tmp_path / "out" / "ct.nii.gz").affine).shear_deg < 0.01
    assert json.loads((tmp_path / "out" / "ct.json").read_text())["repairs"][0]["padding_hu"] == -1024


def test_a_split_series_goes_to_numbered_outputs(gapped: Path, tmp_path: Path) -> None:
    assert main([str(gapped), str(tmp_path / "out"), "--on-gap", "split"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dicom", "out_1", "out_2"]
    shapes = [nib.load(tmp_path / f"out_{n}" / "ct.nii.gz").shape for n in (1, 2)]
    assert shapes == [(5, 6, 5), (5, 6, 6)]
    assert main([str(gapped), str(tmp_path / "case.nii.gz"), "--on-gap", "split"]) == 0
    assert (tmp_path / "case_2.nii.gz").is_file()
    assert json.loads((tmp_path / "case_2.json").read_text())["repairs"][0]["part"] == 2


def test_an_even_series_is_not_numbered(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", positions(4))
    assert main([str(tmp_path / "dicom"), str(tmp_path / "out"), "--on-gap", "split"]) == 0
    assert (tmp_path / "out" / "ct.nii.gz").is_file()


def test_no_part_of_a_split_is_overwritten_without_leave(
    gapped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out_2").mkdir()
    (tmp_path / "out_2" / "ct.json").write_text("precious")
    assert main([str(gapped), str(tmp_path / "out"), "--on-gap", "split"]) == 2
    assert "out_2" in capsys.readouterr().err
    assert not (tmp_path / "out_1").exists()


def test_duplicates_are_dropped_by_rule(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", [*positions(4), positions(4)[2]], shows=[0, 1, 2, 3, 2])
    assert main([str(tmp_path / "dicom"), str(tmp_path / "out")]) == 3
    assert main([str(tmp_path / "dicom"), str(tmp_path / "out"), "--on-duplicate", "keep-lowest"]) == 0
    facts = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert facts["repairs"][0]["identical_pixels"] == 1
    assert len(facts["left_out"]) == 1


def test_a_grid_of_a_mixed_series_is_chosen_by_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "dicom" / "a", positions(4))
    write_series(tmp_path / "dicom" / "b", positions(3), PixelSpacing=[0.5, 0.5])
    command = [str(tmp_path / "dicom"), str(tmp_path / "out"), "--overwrite"]
    assert main(command) == 3
    for choice, slices in ((["--group", "2"], 3), (["--series", f"{SERIES_UID}#1"], 4)):
        assert main([*command, *choice]) == 0
        assert nib.load(tmp_path / "out" / "ct.nii.gz").shape[2] == slices
    assert main([*command, "--series", f"{SERIES_UID}#1", "--group", "2"]) == 2
    assert "both choose a grid" in capsys.readouterr().err


def test_phases_with_mixed_instance_numbers_are_never_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = [1, 4, 5, 8, 2, 3, 6, 7]

    def change(k: int, data: FileDataset) -> None:
        data.InstanceNumber, data.TriggerTime = numbers[k], str(400 * (k // 4))

    write_series(tmp_path / "dicom", positions(4) * 2, change=change, shows=[0] * 4 + [5] * 4)
    command = [str(tmp_path / "dicom"), str(tmp_path / "out"), "--overwrite", "--on-duplicate", "keep-lowest"]
    assert main(command) == 3
    assert "TriggerTime 400" in capsys.readouterr().err
    for choice, hu in (("1", -24), ("2", 476)):
        assert main([*command, "--group", choice]) == 0
        image = nib.load(tmp_path / "out" / "ct.nii.gz").get_fdata()
        assert image[0, 0].tolist() == [hu] * 4


def test_different_images_at_one_position_are_refused_with_and_without_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "dicom", positions(4) * 2)
    for option in ([], ["--on-duplicate", "keep-lowest"]):
        assert main([str(tmp_path / "dicom"), str(tmp_path / "out"), *option]) == 3
        text = capsys.readouterr().err
        assert "at 4 of 4 position(s) the pixels differ" in text
        assert "TriggerTime" in text
        assert "--on-duplicate" not in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["0", "-1", "nan"])
def test_a_gap_that_is_no_number_of_slices(
    gapped: Path, tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(gapped), str(tmp_path / "out"), "--max-gap", value]) == 2
    assert "expected a positive number of slices" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "part", "expected"),
    [("a/case", 2, "a/case_2"), ("a/x.nii.gz", 1, "a/x_1.nii.gz"), ("x.nii", 3, "x_3.nii"), ("x.y", 1, "x.y_1")],
)
def test_names_of_parts(out: str, part: int, expected: str) -> None:
    assert part_path(Path(out), part) == Path(expected)
    assert part_path(Path(out), 0) == Path(out)


def test_the_real_tilted_head_needs_both_rules(real_data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(real_data("dicom_tilt_ge")), str(tmp_path / "out"), "--on-tilt", "shear"]
    assert main(command) == 3
    assert "--on-gap" in capsys.readouterr().err
    assert main([*command, "--on-gap", "resample"]) == 0
    facts = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert [record["rule"] for record in facts["repairs"]] == ["shear", "resample"]
    assert np.ptp(np.diff(facts["slice_positions_mm"])) < 1e-5


def test_one_stretch_of_a_split_series_is_written_alone(
    gapped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(gapped), str(tmp_path / "out"), "--on-gap", "split"]
    assert main([*command, "--part", "2"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dicom", "out_2"]
    facts = json.loads((tmp_path / "out_2" / "ct.json").read_text())
    assert (facts["repair_policy"]["gap"], facts["repair_policy"]["part"]) == ("split", 2)
    assert main([*command, "--part", "3"]) == 3
    assert "part 3 is asked for, but the series has 2 even stretch(es)" in capsys.readouterr().err
    assert main([*command, "--part", "0"]) == 2
    assert "--part is 0" in capsys.readouterr().err


def test_the_policy_is_recorded_only_where_something_was_repaired(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", positions(4))
    assert main([str(tmp_path / "dicom"), str(tmp_path / "out"), "--on-gap", "resample"]) == 0
    facts = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert (facts["repairs"], facts["repair_policy"]) == ([], None)
