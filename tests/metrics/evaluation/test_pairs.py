"""Pairing files by the name of the case."""

from __future__ import annotations

from pathlib import Path

import pytest

from medseg.io.bounded.errors import DataError
from medseg.io.privacy.pseudonym import Pseudonymiser
from medseg.metrics.evaluation.pairs import label_files, pair_files


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_names_are_paired_whatever_their_ending(tmp_path: Path) -> None:
    pred, truth = touch(tmp_path / "p", "b.mha", "a.nii"), touch(tmp_path / "t", "a.nii.gz", "b.nrrd", "notes.txt")
    assert [(pair.key, pair.prediction.name, pair.reference.name) for pair in pair_files(pred, truth)] == [
        ("a", "a.nii", "a.nii.gz"),
        ("b", "b.mha", "b.nrrd"),
    ]


def test_results_of_medseg_segment_are_taken_by_the_name_of_their_folder(tmp_path: Path) -> None:
    pred = touch(tmp_path / "p", "case_1/seg.nii.gz", "case_1/run.json", "empty/other.txt")
    truth = touch(tmp_path / "t", "case_1.nii.gz")
    (pair,) = pair_files(pred, truth)
    assert pair.prediction == pred / "case_1" / "seg.nii.gz"


def test_files_without_a_partner_are_named_in_one_line(tmp_path: Path) -> None:
    pred, truth = (
        touch(tmp_path / "p", "a.nii", "x.nii"),
        touch(tmp_path / "t", "a.nii", *(f"t{n}.nii" for n in range(6))),
    )
    with pytest.raises(DataError) as caught:
        pair_files(pred, truth)
    line = str(caught.value)
    assert "6 without a prediction" in line
    assert "and 2 more" in line
    assert f"1 without a reference: {pred / 'x.nii'}" in line
    assert line.endswith("complete them, or add --only-common")
    assert [pair.key for pair in pair_files(pred, truth, only_common=True)] == ["a"]


def test_no_common_name_is_refused_even_with_only_common(tmp_path: Path) -> None:
    pred, truth = touch(tmp_path / "p", "a.nii"), touch(tmp_path / "t", "b.nii")
    with pytest.raises(DataError, match="no file has the name of a file in"):
        pair_files(pred, truth, only_common=True)


def test_two_files_of_one_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a second file of the case of"):
        label_files(touch(tmp_path, "a.nii", "a.nii.gz"))


def test_folders_without_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        label_files(tmp_path / "none")
    with pytest.raises(DataError, match="no label file"):
        label_files(touch(tmp_path, "notes.txt"))


def test_private_names_are_numbered_among_all_references_or_get_pseudonyms(tmp_path: Path) -> None:
    truth = touch(tmp_path / "t", "ANNA.nii", "BERTA.nii", "volume-1.nii")
    few, all_ = touch(tmp_path / "p", "BERTA.nii"), touch(tmp_path / "q", "ANNA.nii", "BERTA.nii", "volume-1.nii")
    assert [pair.name for pair in pair_files(few, truth, only_common=True)] == ["case_0002"]
    assert [pair.name for pair in pair_files(all_, truth)] == ["case_0001", "case_0002", "volume-1"]
    key = Pseudonymiser(bytes(32))
    names = [pair.name for pair in pair_files(all_, truth, key=key)]
    assert names == [key.patient("ANNA"), key.patient("BERTA"), "volume-1"]


def test_a_file_that_is_called_as_a_number_takes_no_other_cases_name(tmp_path: Path) -> None:
    root = touch(tmp_path, "ANNA.nii", "case_0001.nii")
    assert [pair.name for pair in pair_files(root, root)] == ["case_0001", "case_0002"]
