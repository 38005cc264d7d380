from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.lidc_table import main
from tests.datasets.lidc._messages import square
from tests.datasets.lidc._small_database import Marked, Outline, SmallScan, write_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    marks = [Marked([Outline(2.0, square(x, 20, 4))]) for x in (10, 20)]
    return write_database(tmp_path / "small.sqlite", [SmallScan("A", "1.1", marks)])


def _run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_table_names_its_rules_and_counts(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--database", path, "--workers", 1) == 0
    text = capsys.readouterr().out
    assert "cluster: kdtree (outlines of different readers within one pixel spacing" in text
    assert "1 scans of 1 patients, 2 annotations, 2 contours (0 exclusions)" in text
    assert "2 nodules: 2 / 0 / 0 / 0 by exactly 1 / 2 / 3 / 4 readers, 0 by more" in text
    assert "at least 2 readers                             0  -" in text


def test_json_holds_the_same_figures_under_the_other_grouping(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--database", path, "--workers", 1, "--cluster", "pylidc", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["policy"]["cluster"] == "pylidc"
    assert report["counts"]["nodules_by_exactly"] == {"1": 0, "2": 1, "3": 0, "4": 0}
    assert report["agreement"][0]["reader_dice"] == 0.0
    assert report["seconds"]["cpu"] > 0


def test_wrong_words_and_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--workers", 0) == 2
    assert capsys.readouterr().err == "error: --workers is 0, expected at least 1\n"
    wrong = tmp_path / "wrong.sqlite"
    wrong.write_text("no database")
    assert _run("--database", wrong, "--workers", 1) == 3
    assert "not the LIDC annotation database" in capsys.readouterr().err
    assert _run("--consensus", "most") == 2
    assert "--consensus is 'most', expected one of half, half-of-four" in capsys.readouterr().err
