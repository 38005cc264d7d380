from __future__ import annotations

import json
from pathlib import Path

import pytest

from medseg.io.privacy.names import HiddenNames, is_plain_name, shown, shown_reason, shown_term, shown_uid


@pytest.mark.parametrize(
    "name",
    [
        *("IM7_3", "IM00007.dcm", "SE000002", "1-084.dcm", "a.nii.gz", "slice_12", "volume-12.nii", "ct.nii.gz"),
        *("LIDC-IDRI-0001", "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3.dcm", "label.seg.nrrd", "case_0001", "DICOM"),
    ],
)
def test_names_that_programs_give_are_plain(name: str) -> None:
    assert is_plain_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("SMITH", "Smith_John.dcm", "ct_smith", "12345678", "1977-07-07", "19770707.dcm", "J.D.S.nii", "M\u00fcller"),
        *("DOE^JOHN", "scan of Wu", "label\n", "MRN4711815", "", "x" * 101),
    ],
)
def test_names_that_could_be_a_patients_are_not(name: str) -> None:
    assert not is_plain_name(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("SMITH/scan/IM1", "SMITH/scan/JOHN.dcm", "ct/IM2", "ct/JOHN.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def test_files_are_counted_in_the_order_of_their_paths(folder: Path) -> None:
    names = HiddenNames({"IN": folder})
    assert names.hide(f"{folder}/SMITH/scan/IM1: cut off") == "file 1 of 4: cut off"
    assert names.hide("SMITH/scan/JOHN.dcm") == "file 2 of 4"
    assert names.hide(f"{folder / 'ct' / 'IM2'}: cut off") == "<IN>/ct/IM2: cut off"
    assert names.hide("left out JOHN.dcm (JOHN)") == "left out file 2, 4 of 4 (file 2, 4 of 4)"
    assert names.label(folder / "ct" / "IM2") == "IM2"
    assert names.label(folder / "ct" / "JOHN.dcm") == "file 4 of 4"


def test_folders_and_the_input_itself_lose_their_names(folder: Path) -> None:
    names = HiddenNames({"IN": folder / "SMITH"})
    assert names.hide(f"{folder / 'SMITH'}: no series") == "<IN>: no series"
    assert names.hide("patient SMITH, blacksmiths") == "patient <IN>, blacksmiths"
    assert HiddenNames({"IN": folder}).hide("in SMITH/scan") == "in folder 1/scan"


def test_folders_that_hold_no_file_lose_their_names_too(folder: Path) -> None:
    (folder / "ct" / "MARY").mkdir()
    assert HiddenNames({"IN": folder}).hide(f"{folder / 'ct' / 'MARY'}: empty") == "<IN>/ct/folder 2: empty"


def test_a_path_of_plain_names_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "ct").mkdir(parents=True)
    assert HiddenNames({"IN": "data/ct"}).hide("data/ct: no series") == "data/ct: no series"


def test_a_path_that_leads_nowhere_is_hidden_too(tmp_path: Path) -> None:
    assert (
        HiddenNames({"IN": tmp_path / "SMITH"}).hide(f"{tmp_path / 'SMITH'}: no such folder") == "<IN>: no such folder"
    )


def test_an_input_file_keeps_a_plain_name_and_loses_its_folder(folder: Path) -> None:
    names = HiddenNames({"MASK": folder / "SMITH" / "scan" / "IM1", "IMAGE": folder / "ct" / "JOHN.dcm"})
    assert names.hide(f"{folder / 'SMITH' / 'scan' / 'IM1'}: empty") == "<MASK>/IM1: empty"
    assert "JOHN" not in names.hide(f"{folder / 'ct' / 'JOHN.dcm'}: empty")


def test_a_file_given_by_name_is_called_by_its_word_and_its_neighbours_are_counted(folder: Path) -> None:
    scan = folder / "SMITH" / "scan"
    (scan / "MARY.raw").write_text("x")
    names = HiddenNames({"MASK 1": scan / "JOHN.dcm", "MASK 2": folder / "ct" / "JOHN.dcm"})
    assert names.hide(f"{scan / 'JOHN.dcm'}: empty") == "<MASK 1>: empty"
    assert names.hide(f"{folder / 'ct' / 'JOHN.dcm'}: empty") == "<MASK 2>: empty"
    assert names.hide(f"{scan / 'MARY.raw'}: cut off") == "file 3 of 3 beside <MASK 1>: cut off"
    assert names.hide(f"{scan}: not writable") == "<folder of MASK 1>: not writable"
    assert names.label(scan / "JOHN.dcm") == "<MASK 1>"


@pytest.mark.parametrize("typed", ["results/SMITH", "SMITH", "SMITH/SMITH_2", "./SMITH"])
def test_an_output_is_shown_as_it_was_typed_even_if_it_is_called_like_an_input(
    folder: Path, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    out = Path(typed)
    names = HiddenNames({"IN": folder / "SMITH"}, outputs=[out])
    assert names.hide(f"{out}: 3 files") == f"{out}: 3 files"
    assert names.hide(f"{out / 'ct.nii.gz'} is new") == f"{out / 'ct.nii.gz'} is new"
    assert names.hide(f"{out.absolute()}: no space") == f"{out}: no space"
    assert names.hide(f"{folder / 'SMITH' / 'scan' / 'JOHN.dcm'}: cut off") == "file 2 of 2: cut off"


def test_an_output_beside_or_around_the_input_gives_no_name_of_it_away(folder: Path) -> None:
    source = folder / "SMITH"
    around = HiddenNames({"IN": source}, outputs=[folder])
    assert around.hide(f"{source / 'scan' / 'JOHN.dcm'}: cut off") == "file 2 of 2: cut off"
    (source / "ct JOHN.dcm").write_text("x")
    beside = HiddenNames({"IN": source}, outputs=[source / "ct"])
    assert "JOHN" not in beside.hide(f"{source / 'ct JOHN.dcm'}: cut off")
    assert beside.hide(f"{source / 'ct'}: not empty") == f"{source / 'ct'}: not empty"
    assert "SMITH" not in HiddenNames({"IN": source}).hide(f"{folder / 'out' / 'SMITH'}"), "files get no output's name"


def test_the_longest_name_at_a_place_is_the_one_that_is_meant(folder: Path) -> None:
    (folder / "SMITH" / "SMITH_1.dcm").write_text("x")
    assert HiddenNames({"IN": folder / "SMITH"}).hide("left out SMITH_1.dcm") == "left out file 1 of 3"


def test_values_in_json_are_hidden_and_keys_are_not(folder: Path) -> None:
    value = HiddenNames({"IN": folder}).hide_in({"JOHN": ["JOHN.dcm", 1, None]})
    assert json.dumps(value) == '{"JOHN": ["file 2, 4 of 4", 1, null]}'


def test_values_are_quoted_if_they_are_numbers() -> None:
    assert shown(["0.7", "-1e3"]) == "['0.7', '-1e3']"
    assert shown(12.5) == "12.5"
    assert shown("SMITH") == "a text of 5 characters (hidden)"
    assert shown_uid("1.2.3#2") == "1.2.3#2"
    assert "SMITH" not in shown_uid("SMITH#2")
    assert shown_term("MONOCHROME2") == "MONOCHROME2"
    assert "SMITH" not in shown_term("SMITH")


@pytest.mark.parametrize(
    ("text", "value", "says"),
    [
        ("could not convert string to float: 'SMITH'", None, "could not convert string to float: (hidden)"),
        ("could not convert string to float: 'SMI", None, "could not convert string to float: (hidden)"),
        ('bad "O\'SMITH" here', None, "bad (hidden) here"),
        ("invalid SMITH", b"SMITH ", "invalid (hidden)"),
        ("invalid a or SMITH", b"12\\SMITH\0", "invalid a or (hidden)"),
        ("value '12.5' is odd", None, "value '12.5' is odd"),
        ("", None, "ValueError"),
    ],
)
def test_a_librarys_error_loses_the_values_that_it_quotes(text: str, value: bytes | None, says: str) -> None:
    assert shown_reason(ValueError(text), value) == says
