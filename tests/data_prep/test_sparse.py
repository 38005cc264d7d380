"""The command that makes sparse annotation: slices of the patient's axes, a record, and nothing guessed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.sparse import main
from medseg.geometry import make_affine
from medseg.io.volumes.nifti import read_nifti, write_nifti

AFFINE = make_affine((2.0, 0.8, 0.9), (5.0, 6.0, 7.0), "SLP")  # i up, j to the left, k to the back


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    array = np.zeros((10, 12, 14), np.uint8)
    array[2:8, 3:11, 4:10] = 1
    array[3, 5, 5] = 2
    return write_nifti(tmp_path / "dense.nii.gz", array, AFFINE)


def run(dense: Path, out: Path, *words: object) -> int:
    return main(["--label", str(dense), "--out", str(out), *map(str, words)])


def test_slices_are_kept_along_the_patient_s_axes_and_recorded(
    dense: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sparse.nii.gz"
    assert run(dense, out, "--slices", 2, "--axes", "xz") == 0
    record = json.loads((tmp_path / "sparse.json").read_text())
    assert [(row["axis"], row["plane"], row["array_axis"], row["indices"]) for row in record["slices"]] == [
        ("x", "sagittal", 1, [5, 9]),
        ("z", "axial", 0, [3, 6]),
    ]
    found, source = read_nifti(out), read_nifti(dense)
    np.testing.assert_array_equal(found.affine_ras, source.affine_ras)
    kept = np.zeros(source.array.shape, bool)
    kept[[3, 6]] = True
    kept[:, [5, 9]] = True
    np.testing.assert_array_equal(found.array, np.where(kept, source.array, 255))
    assert record["ignore_label"] == 255
    assert record["labelled_share"] == pytest.approx(kept.mean(), abs=1e-6)
    assert record["voxels"]["2"] == {"dense": 1, "sparse": 1}
    assert record["warnings"] == []
    assert "x (sagittal, array axis 1): [5, 9]" in capsys.readouterr().out


def test_a_class_that_loses_all_its_voxels_is_warned_about(
    dense: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dense, tmp_path / "o.nii", "--slices", 1, "--axes", "y", "--json") == 0
    printed = capsys.readouterr()
    assert "warning: label 2 has no annotated voxel left" in printed.err
    assert json.loads(printed.out) == json.loads((tmp_path / "o.json").read_text())


def test_a_seed_gives_the_same_file_again_and_another_one_another(dense: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert run(dense, tmp_path / f"{name}.nii.gz", "--slices", 2, "--seed", seed, "--ignore-label", 9) == 0
    a, b, c = (read_nifti(tmp_path / f"{name}.nii.gz").array for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert set(np.unique(a)) <= {0, 1, 2, 9}
    assert json.loads((tmp_path / "a.json").read_text())["chosen"] == "drawn with seed 3"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--slices", 7, "--axes", "y"], 3, "7 slices were asked for along array axis 2, where the foreground holds 6"),
        (["--slices", 1, "--ignore-label", 1], 3, "none of the labels [0, 1, 2]"),
        (["--slices", 0], 2, "--slices is 0, expected at least 1"),
        (["--slices", 1, "--axes", "ij"], 2, "--axes is 'ij'"),
        (["--slices", 1, "--ignore-label", 300], 2, "--ignore-label is 300"),
        (["--slices", 1, "--seed", -1], 2, "--seed is -1"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    dense: Path, tmp_path: Path, words: list[object], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dense, tmp_path / "out" / "o.nii.gz", *words) == code
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_without_leave_and_other_formats_are_refused(
    dense: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.nii.gz"
    assert run(dense, out, "--slices", 1) == 0
    assert run(dense, out, "--slices", 1) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(dense, out, "--slices", 1, "--overwrite") == 0
    assert run(dense, tmp_path / "o.png", "--slices", 1) == 2
    assert run(tmp_path / "none.nii", tmp_path / "p.nii", "--slices", 1) == 3
