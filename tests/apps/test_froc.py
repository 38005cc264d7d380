"""The command that scores marks from the tables of LUNA16, against a case counted by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from medseg.apps.cli import main

PLACE = "seriesuid,coordX,coordY,coordZ"


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    """Two scans with a nodule each. Marks: a hit, one on an excluded finding, two false ones, and a late hit."""
    (tmp_path / "seriesuids.csv").write_text("1.2.1\n1.2.2\n")
    (tmp_path / "annotations.csv").write_text(f"{PLACE},diameter_mm\n1.2.1,0,0,0,8\n1.2.2,50,0,0,8\n")
    (tmp_path / "excluded.csv").write_text(f"{PLACE},diameter_mm\n1.2.1,90,0,0,-1\n")
    (tmp_path / "marks.csv").write_text(
        f"{PLACE},probability\n1.2.1,1,0,0,0.9\n1.2.1,91,0,0,0.8\n1.2.1,30,0,0,0.7\n1.2.2,-30,0,0,0.6\n1.2.2,51,0,0,0.5\n"
    )
    named = {"marks": "marks", "nodules": "annotations", "scans": "seriesuids", "excluded": "excluded"}
    return ["froc", *(word for key, file in named.items() for word in (f"--{key}", str(tmp_path / f"{file}.csv")))]


def test_sensitivities_and_their_mean_are_those_counted_by_hand(
    tables: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*tables, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    counts = {key: found[key] for key in ("scans", "nodules", "found", "false_positives", "ignored_marks")}
    assert counts == {"scans": 2, "nodules": 2, "found": 2, "false_positives": 2, "ignored_marks": 1}
    # Half of the nodules without a false positive; the other one after a false positive in each scan.
    assert [point["sensitivity"] for point in found["sensitivity_at"]] == [0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]
    assert found["cpm"]["value"] == pytest.approx(5.5 / 7)
    assert found["cpm"]["low"] <= found["cpm"]["value"] <= found["cpm"]["high"]


def test_a_table_is_printed_and_the_curve_written_once(
    tables: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = tmp_path / "curve.csv"
    assert main([*tables, "--curve", str(curve)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2 scans, 2 nodules: 2 found at the lowest threshold, 2 false positives, 1 marks neither")
    assert "\n   0.125        0.500" in printed
    assert "\nCPM 0.786 (" in printed
    with curve.open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["fp_per_scan"]), float(row["sensitivity"])) for row in rows] == [
        (0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0),
    ]  # fmt: skip
    assert main([*tables, "--curve", str(curve)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*tables, "--curve", str(curve), "--overwrite"]) == 0


def test_rows_of_other_scans_are_refused_unless_they_are_to_be_left_out(
    tables: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "seriesuids.csv").write_text("seriesuid\n1.2.1\n")
    assert main(tables) != 0
    err = capsys.readouterr().err
    assert "marks.csv: names 1 series that --scans does not list, such as 1.2.2" in err
    assert err.count("\n") == 1
    assert main([*tables, "--only-listed", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["scans"], found["nodules"], found["false_positives"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("marks.csv", "seriesuid,coordX\n1,2\n", "no column 'coordY'"),
        ("marks.csv", f"{PLACE},probability\n1.2.1,0,0,0,high\n", "line 2: probability is 'high', expected a number;"),
        ("seriesuids.csv", "", "names no series"),
        ("seriesuids.csv", "1.2.1\n1.2.1\n", "names the series 1.2.1 twice"),
        ("seriesuids.csv", "a scan\n", "line 1: 'a scan' is no SeriesInstanceUID"),
        ("excluded.csv", f"{PLACE},diameter_mm\n1.2.1,0,0,0,-3\n", "diameter_mm is -3, expected a positive number, or"),
    ],
)
def test_wrong_tables_are_one_line(
    tables: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, words: str
) -> None:
    (tmp_path / file).write_text(text)
    assert main(tables) != 0
    err = capsys.readouterr().err
    assert words.rstrip(";") in err
    assert str(tmp_path / file) in err
    assert err.count("\n") == 1


def test_a_missing_table_is_one_line(tables: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "marks.csv").unlink()
    assert main(tables) != 0
    assert capsys.readouterr().err.count("\n") == 1
