"""No name, date, free text or file name of the input leaves it: marks are planted everywhere and searched for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from data_prep import check, cohort, convert, dataset, from_dicom, lidc, ls
from medseg.datasets.phantom.__main__ import main as phantom
from medseg.io.ct.series import read_series
from medseg.io.ct.sidecar import SIDECAR_KEYS
from tests.data_prep._canaries import MARK, files_of, leaks, plant, write_marked

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    return write_marked(tmp_path / f"{MARK}_in")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(main: Callable[[list[str]], int], *words: object) -> tuple[int, str]:
        capfd.readouterr()
        code = main([str(word) for word in words])
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return call


def _damage(path: Path, kind: str) -> None:
    """Make one error path meet a mark."""
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-40])
        return
    if kind == "not dicom":
        path.write_text(MARK)
        return
    data = dcmread(path)
    raw = {
        "DS": (0x00200032, "DS", rb"ZQXCANARYDS\0\0 "),
        "IS": (0x00200013, "IS", b"ZQXCANARYIS "),
        "spacing": (0x00280030, "DS", rb"ZQXCANARY\ZQXCANARY "),
        "slope": (0x00281053, "DS", b"O'ZQXCANARY\"x "),
        "photometric": (0x00280004, "CS", b"ZQXCANARYPI "),
        "modality": (0x00080060, "CS", b"ZQXCANARYMO "),
        "series": (0x0020000E, "UI", b"ZQXCANARYUI\0"),
        "sop": (0x00080018, "UI", b"ZQXCANARYSOP"),
        "class": (0x00080016, "UI", b"ZQXCANARYCLA"),
        "charset": (0x00080005, "CS", b"ZQXCANARYCHAR "),
        "acquisition": (0x00200012, "IS", b"ZQXCANARYACQ"),
        "orientation": (0x00200037, "DS", rb"ZQXCANARY\0\0\0\1\0 "),
        "burned": (0x00280301, "CS", b"YES "),
    }[kind]
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag(raw[0])
    data._dict[tag] = RawDataElement(tag, raw[1], len(raw[2]), raw[2], 0, False, True)
    data.save_as(path)


KINDS = (
    "cut",
    "not dicom",
    "DS",
    "IS",
    "spacing",
    "slope",
    "photometric",
    "modality",
    "series",
    "sop",
    "class",
    "charset",
    "acquisition",
    "orientation",
    "burned",
)


def test_the_marks_are_found_where_they_are(marked: Path) -> None:
    found = leaks(marked)
    assert sum(line.startswith("name ") for line in found) == 8
    assert len(found) == 8 + 3 * 4 + 1


def test_a_converted_series_holds_no_mark(marked: Path, tmp_path: Path, run: Run) -> None:
    code, printed = run(convert.main, marked, tmp_path / "out")
    assert code == 0, printed
    assert leaks(tmp_path / "out", printed) == []
    code, printed = run(convert.main, marked, tmp_path / "out", "--json", "--overwrite")
    assert leaks(tmp_path / "out", printed) == []


def test_a_sidecar_has_the_listed_keys_and_no_others(marked: Path, tmp_path: Path, run: Run) -> None:
    assert run(convert.main, marked, tmp_path / "out")[0] == 0
    assert set(json.loads((tmp_path / "out" / "ct.json").read_text())) == set(SIDECAR_KEYS)


def test_names_are_shown_on_the_terminal_on_request_alone(
    marked: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _damage(files_of(marked)[1], "cut")
    words = (marked, tmp_path / "out", "--on-gap", "resample")
    name = files_of(marked)[1].name
    assert "file 2 of 5: " in run(convert.main, *words)[1]
    assert name in run(convert.main, *words, "--show-names")[1]
    monkeypatch.setenv("MEDSEG_SHOW_NAMES", "1")
    assert name in run(convert.main, *words)[1]
    code, printed = run(cohort.main, "convert", marked, tmp_path / "cohort", "--workers", 1)
    assert (code, name in printed) == (4, True)
    assert leaks(tmp_path / "cohort") == []


def test_a_hint_is_not_taken_for_a_name(tmp_path: Path, run: Run) -> None:
    (tmp_path / "in").mkdir()
    for name in ("hidden", "shows", "them"):
        (tmp_path / "in" / name).write_text("x")
    assert "(names are hidden; --show-names shows them)" in run(convert.main, tmp_path / "in", tmp_path / "out")[1]


def test_a_fault_of_the_program_is_one_line_without_the_values_in_it(
    marked: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError(MARK)

    monkeypatch.setattr("medseg.io.ct.series.read_parts", fail)
    code, printed = run(convert.main, marked, tmp_path / "out")
    assert code == 1
    assert printed.startswith("error: KeyError in test_privacy.py:")
    assert leaks(printed) == []


def test_a_listing_holds_no_mark(marked: Path, run: Run) -> None:
    for words in ([], ["--json"], ["--uids"], ["--deep"]):
        code, printed = run(ls.main, marked, *words)
        assert code == 0, printed
        assert leaks(printed) == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_makes_an_error_or_an_output_quote_a_mark(kind: str, tmp_path: Path, run: Run) -> None:
    marked = write_marked(tmp_path / f"{MARK}_in")
    _damage(files_of(marked)[1], kind)
    out = tmp_path / "out"
    out.mkdir()
    printed = [run(convert.main, marked, out / "a")[1], run(convert.main, marked, out / "b", "--on-gap", "resample")[1]]
    printed += [run(ls.main, marked, *words)[1] for words in ([], ["--json"], ["--deep"])]
    printed.append(run(lidc.main, "--dicom", marked, "--out", out / "c", "--allow-partial")[1])
    assert leaks(out, *printed) == []


def test_a_partial_series_says_what_is_left_out_without_names(marked: Path, tmp_path: Path) -> None:
    from data_prep.convert import write_series

    _damage(files_of(marked)[1], "cut")
    series = read_series(marked, allow_partial=True)
    facts = write_series(series, tmp_path / "out" / "ct.nii.gz")
    assert len(series.left_out) == 1
    assert facts["left_out"] == ["file 2 of 5"]
    assert any("left out file 2 of 5: " in line for line in facts["warnings"])
    assert leaks(tmp_path / "out") == []


@pytest.mark.parametrize("kind", ["", "cut", "series", "DS"])
def test_a_cohort_holds_no_mark(kind: str, tmp_path: Path, run: Run) -> None:
    marked = write_marked(tmp_path / f"{MARK}_in")
    if kind:
        _damage(files_of(marked)[1], kind)
    code, printed = run(cohort.main, "convert", marked, tmp_path / "out", "--workers", 1)
    assert code == (4 if kind in ("cut", "DS", "series") else 0), printed
    assert leaks(tmp_path / "out", printed) == []


def _label(folder: Path, series: Path) -> Path:
    ct = read_series(series)
    label = np.zeros(ct.array.shape, np.uint8)
    label[1:3, 1:3, 1:3] = 1
    image = nib.Nifti1Image(label, ct.affine_ras)
    image.header["descrip"] = MARK
    image.header["aux_file"] = MARK
    image.header["db_name"] = MARK
    image.header["intent_name"] = MARK
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", MARK.encode()))
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(image, folder / f"{MARK}_label.nii.gz")
    return folder / f"{MARK}_label.nii.gz"


def test_a_data_set_and_its_check_hold_no_mark(marked: Path, tmp_path: Path, run: Run) -> None:
    label = _label(tmp_path / f"{MARK}_labels", marked)
    code, printed = run(dataset.main, "--pair", marked, label, "--out", tmp_path / "out")
    assert code == 0, printed
    assert (tmp_path / "out" / "images" / "case_0001.nii.gz").is_file()
    code, checked = run(check.main, "--pair", marked, label, "--out", tmp_path / "report")
    assert code == 0, checked
    moved = nib.load(label)
    nib.save(nib.Nifti1Image(np.asarray(moved.dataobj), moved.affine @ np.diag([-1, 1, 1, 1])), label)
    words = ["--fix", "header-from-image", "--out-data", tmp_path / "mended"]
    _, mended = run(check.main, "--pair", marked, label, "--out", tmp_path / "report", "--overwrite", *words)
    refused = run(dataset.main, "--pair", marked, label, "--out", tmp_path / "refused")[1]
    assert leaks(tmp_path / "out", tmp_path / "report", tmp_path / "mended", printed, checked, mended, refused) == []


def test_a_result_read_back_holds_no_mark(marked: Path, tmp_path: Path, run: Run) -> None:
    from data_prep import to_dicom

    label = _label(tmp_path / f"{MARK}_labels", marked)
    for kind in ("seg", "rtstruct"):
        words = ["--mask", label, "--series", marked, "--type", kind, "--out", tmp_path / f"{MARK}.{kind}.dcm"]
        code, printed = run(to_dicom.main, *words)
        assert code == 0, printed
        assert leaks(printed.replace(str(tmp_path / f"{MARK}.{kind}.dcm"), "")) == []
        out = tmp_path / f"out_{kind}"
        code, printed = run(from_dicom.main, tmp_path / f"{MARK}.{kind}.dcm", "--series", marked, "--out", out)
        assert code == 0, printed
        assert leaks(out, printed) == []


def test_an_annotated_case_holds_no_mark(tmp_path: Path, run: Run) -> None:
    root = tmp_path / f"{MARK}_in"
    assert (
        phantom(
            ["--kind", "chest", "--count", "1", "--spacing", "4", "4", "4", "--format", "dicom", "--out", str(root)]
        )
        == 0
    )
    for path in sorted(root.rglob("*.dcm")):
        data = dcmread(path)
        plant(0, data)
        data.save_as(path.with_name(f"{MARK}_{path.name}"))
        path.unlink()
    for path in sorted(root.rglob("*.xml")):
        path.rename(path.with_name(f"{MARK}_{path.name}"))
    code, text = run(lidc.main, "--dicom", root, "--out", tmp_path / "out")
    assert code == 0, text
    assert json.loads((tmp_path / "out" / "nodules.json").read_text())
    assert leaks(tmp_path / "out", text) == []
