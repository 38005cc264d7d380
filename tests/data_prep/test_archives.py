"""A command reads an archive like the folder that it was made from, and leaves nothing of it behind."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_prep import cohort, lidc
from tests.datasets.lidc._messages import message, nodule, roi, square
from tests.io._dicom_files import AXIAL, SERIES_UID, make_slice


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    folder = tmp_path / "ct"
    folder.mkdir()
    for k in range(4):
        position = (-20.0, -15.0, 2.5 * k)
        data = make_slice(np.full((48, 56), 1000 + k, np.int16), position, AXIAL, (0.8, 0.8), instance=k + 1)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
        data.save_as(folder / f"1-{k + 1:03d}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    folder = tmp_path / "annotations"
    (folder / "157").mkdir(parents=True)
    reading = nodule("A", roi(2.5, square(20, 24, 8)), roi(5, square(20, 24, 5)))
    (folder / "157/158.xml").write_text(message(SERIES_UID, reading), encoding="utf-8")
    return folder


def packed(folder: Path, kind: str = "zip") -> Path:
    return Path(shutil.make_archive(str(folder), kind, folder))


def run_lidc(*words: object) -> int:
    return lidc.main([str(word) for word in words])


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_annotations_in_an_archive_give_the_files_that_their_folder_gives(
    ct: Path, annotations: Path, tmp_path: Path, temporary: Path, kind: str
) -> None:
    assert run_lidc("--dicom", ct, "--xml", annotations, "--out", tmp_path / "a" / "out") == 0
    assert run_lidc("--dicom", ct, "--xml", packed(annotations, kind), "--out", tmp_path / "b" / "out") == 0
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    assert not list(temporary.iterdir())


def test_a_ct_in_an_archive_gives_the_files_that_its_folder_gives(ct: Path, annotations: Path, tmp_path: Path) -> None:
    assert run_lidc("--dicom", ct, "--xml", annotations, "--out", tmp_path / "a" / "out") == 0
    words = ("--dicom", packed(ct), "--xml", packed(annotations), "--out", tmp_path / "b" / "out")
    assert run_lidc(*words) == 0
    assert contents(tmp_path / "b") == contents(tmp_path / "a")


def test_annotations_are_searched_in_the_archive_of_the_ct(ct: Path, annotations: Path, tmp_path: Path) -> None:
    shutil.copy(annotations / "157/158.xml", ct)
    assert run_lidc("--dicom", packed(ct), "--out", tmp_path / "out") == 0


@pytest.mark.parametrize("damage", ["cut", "empty", "leads out"])
def test_an_archive_that_cannot_be_unpacked_is_refused_in_one_line(
    ct: Path, annotations: Path, tmp_path: Path, temporary: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = packed(annotations)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("../evil.xml", b"")
    assert run_lidc("--dicom", ct, "--xml", path, "--out", tmp_path / "out", "--show-names") == 3
    text = capsys.readouterr().err
    assert text.startswith(f"error: {path}: ")
    assert text.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not list(temporary.iterdir())


def test_an_error_in_a_file_names_the_archive_and_the_file(
    ct: Path, annotations: Path, tmp_path: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (annotations / "157/158.xml").write_text("<no")
    assert run_lidc("--dicom", ct, "--xml", packed(annotations), "--out", tmp_path / "out", "--show-names") == 3
    text = capsys.readouterr().err
    assert "annotations.zip/157/158.xml: not well-formed XML" in text
    assert text.count("\n") == 1
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("shown", [False, True])
def test_names_inside_an_archive_are_hidden_like_those_in_a_folder(
    ct: Path, annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], shown: bool
) -> None:
    name = "DOE^JANE 1957.xml"
    (annotations / "157" / name).write_text(message("1.2.3.4"), encoding="utf-8")
    archive = packed(annotations).rename(tmp_path / "JANE DOE.zip")
    words = ["--dicom", ct, "--xml", archive, "--out", tmp_path / "out", *(["--show-names"] if shown else [])]
    assert run_lidc(*words) == 0
    printed = capsys.readouterr()
    assert ("JANE" in printed.out + printed.err) == shown
    assert "skipped" in printed.err
    assert not [path for path in (tmp_path / "out").rglob("*.json") if "JANE" in path.read_text()]
    (annotations / "157" / name).write_text("<no")
    archive.unlink()
    archive = packed(annotations).rename(archive)
    assert run_lidc(*words, "--overwrite") == 3
    assert ("JANE" in capsys.readouterr().err) == shown


@pytest.mark.parametrize("option", ["--dicom", "--xml"])
def test_a_file_that_is_no_archive_is_wrong_usage(
    ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    words = {"--dicom": ct, "--xml": ct, option: ct / "1-001.dcm"}
    assert run_lidc(*(word for pair in words.items() for word in pair), "--out", tmp_path / "out") == 2
    assert "1-001.dcm: is a file, expected a folder or an archive (.zip, .tar" in capsys.readouterr().err


def test_a_cohort_asks_for_a_folder(ct: Path, annotations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["lidc", ct, ct.parent / "out", "--xml", packed(annotations)]
    assert cohort.main([str(word) for word in words]) == 2
    assert "is a file, expected a folder; unpack an archive first" in capsys.readouterr().err
