"""``medseg segment`` keeps names, values and file names of its input out of results and log."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.apps.test_segment import segment
from tests.data_prep._canaries import MARK, files_of, leaks, write_marked
from tests.inference._tiny_bundle import make_tiny_bundle


@pytest.mark.parametrize("words", [(), ("--json",)])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_results_of_a_marked_series_hold_no_mark(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    case = write_marked(tmp_path / f"{MARK}_in", 8)
    capfd.readouterr()
    assert segment(case, tmp_path / "out", make_tiny_bundle(tmp_path / "bundle", class_name="nodule"), *words) == 0
    assert {"seg.nii.gz", "run.json", "statistics.json", "report.html", "medseg.log"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    printed = capfd.readouterr()
    assert leaks(tmp_path / "out", printed.out + printed.err) == []


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_files_that_are_left_out_are_not_named_in_results_or_on_the_terminal(
    tmp_path: Path, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = write_marked(tmp_path / f"{MARK}_in", 8)
    for path in files_of(case)[:6]:
        shutil.copy(path, path.with_name(f"{MARK}_copy_{path.name}"))
    capfd.readouterr()
    assert segment(case, tmp_path / "out", bundle, "--on-duplicate", "keep-lowest") == 0
    printed = capfd.readouterr()
    text = printed.out + printed.err
    assert leaks(tmp_path / "out", text) == []
    (line,) = [line for line in text.splitlines() if line.startswith("warning: left out")]
    assert line.startswith("warning: left out file ")
    assert line.endswith(f"(and 5 more like it, all in {tmp_path / 'out' / 'medseg.log'})")
    assert (tmp_path / "out" / "medseg.log").read_text().count("left out file ") == 6


@pytest.mark.parametrize(
    ("damage", "words", "code"),
    [
        ("cut", (), 3),
        ("none", ("--dry-run",), 0),
        ("none", ("--series", "1.2.3"), 3),
        ("missing", (), 2),
        ("file", ("--on-gap", "split"), 2),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_errors_and_plans_name_no_file_of_the_case(
    tmp_path: Path, bundle: Path, capfd: pytest.CaptureFixture[str], damage: str, words: tuple[str, ...], code: int
) -> None:
    case = write_marked(tmp_path / f"{MARK}_in", 8)
    if damage == "cut":
        path = files_of(case)[1]
        path.write_bytes(path.read_bytes()[:-40])
    if damage == "missing":
        shutil.rmtree(case)
    if damage == "file":
        shutil.rmtree(case)
        nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / f"{MARK}.nii.gz")
        case = tmp_path / f"{MARK}.nii.gz"
    capfd.readouterr()
    assert segment(case, tmp_path / "out", bundle, *words) == code
    printed = capfd.readouterr()
    assert leaks(printed.out + printed.err) == []
    lines = printed.err.splitlines()
    assert code == 0 or lines[-1].startswith("error: ")
    assert ("--show-names shows them" in printed.err) == (code != 0)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_names_are_shown_on_request_and_an_output_as_it_was_typed(
    tmp_path: Path, bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = write_marked(tmp_path / "in" / "SMITH", 8)
    out = tmp_path / "out" / "SMITH"
    capfd.readouterr()
    assert segment(case, out, bundle) == 0
    assert f"results in {out}" in capfd.readouterr().out
    assert segment(case, out, bundle) == 2
    assert f"error: {out}: holds an earlier result" in capfd.readouterr().err
    (path, *_) = files_of(case)
    path.write_bytes(path.read_bytes()[:-40])
    for words in (("--show-names",), ()):
        monkeypatch.setenv("MEDSEG_SHOW_NAMES", "" if words else "1")
        assert segment(case, tmp_path / "other", bundle, *words) == 3
        assert f"error: {path}: " in capfd.readouterr().err
