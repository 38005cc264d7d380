"""``medseg evaluate``: files, exit codes, one-line errors, and no private name in any result."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.apps.cli import main
from medseg.io import write_image
from medseg.io.privacy.pseudonym import Pseudonymiser, write_key
from tests.data_prep._canaries import MARK, leaks
from tests.metrics.evaluation._folders import AFFINE, label, write_folders


def evaluate(root: Path, *words: str, out: str = "out") -> int:
    folders = ["--pred", str(root / "pred"), "--truth", str(root / "truth"), "-o", str(root / out)]
    return main(["evaluate", *folders, "--tolerance", "none", "--resamples", "50", *words])


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_tables_summary_and_report_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folders(tmp_path)
    assert evaluate(root, "--scheme", "lits") == 0
    assert {path.name for path in (root / "out").iterdir()} == {
        *("cases.csv", "lesions.csv", "lits.csv", "report.html", "summary.json")
    }
    printed = capsys.readouterr().out
    assert "3 cases scored" in printed
    assert "tumour: Dice 0.500" in printed
    rows = list(csv.DictReader((root / "out" / "cases.csv").open()))
    assert [row["dice"] for row in rows if row["class"] == "tumour"] == ["0.75", "0.75", "0"]
    assert [row["assd_mm"] for row in rows][-1] == ""
    summary = read(root / "out" / "summary.json")
    assert summary["classes"] == {"liver": [1, 2], "tumour": [2]}
    assert summary["lits"]["lesion_recall"] == pytest.approx(2 / 3)
    assert "if both masks are empty" in summary["rules"]["dice"]


def test_json_is_the_summary_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folders(tmp_path)
    assert evaluate(root, "--json", "--labels", "tumour=2") == 0
    assert json.loads(capsys.readouterr().out) == read(root / "out" / "summary.json")


def test_a_baseline_adds_its_table_a_comparison_and_a_picture(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    write_folders(root / "b", shift=2)
    assert evaluate(root, "--baseline", str(root / "b" / "pred"), "--labels", "liver=1,2") == 0
    assert (root / "out" / "comparison.png").is_file()
    assert (root / "out" / "baseline_cases.csv").is_file()
    compared = read(root / "out" / "summary.json")["comparison"]["classes"]["liver"]["dice"]
    assert (compared["difference"], compared["cases"]) == pytest.approx((0.1, 3))
    assert "data:image/png;base64," in (root / "out" / "report.html").read_text()


def test_intervals_draw_the_patients_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folders(tmp_path)
    (root / "patients.csv").write_text("case,patient\nvolume-1,a\nvolume-2,a\nvolume-3,b\n")
    assert evaluate(root, "--patients", str(root / "patients.csv")) == 0
    assert read(root / "out" / "summary.json")["patients"] == 2
    (root / "patients.csv").write_text("case,patient\nvolume-1,a\n")
    assert evaluate(root, "--patients", str(root / "patients.csv"), out="other") == 3
    assert "names no patient for volume-2, volume-3; add a row for every case" in capsys.readouterr().err


def test_a_failed_case_is_listed_and_the_code_is_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folders(tmp_path)
    (root / "pred" / "volume-2.nii.gz").write_bytes(b"broken")
    assert evaluate(root) == 4
    assert "2 cases scored, 1 failed (failed.csv)" in capsys.readouterr().out
    (row,) = csv.DictReader((root / "out" / "failed.csv").open())
    assert (row["case"], row["result"]) == ("volume-2", "prediction")
    assert "1 cases could not be scored" in (root / "out" / "report.html").read_text()
    for path in (root / "pred").iterdir():
        path.write_bytes(b"broken")
    assert evaluate(root, out="none") == 4
    assert {path.name for path in (root / "none").iterdir()} == {"failed.csv"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--labels", "liver"], 2, "labels holds 'liver', expected NAME=VALUE"),
        (["--lesions", "tumor"], 2, "lesions names 'tumor', which is no class"),
        (["--tolerance", "-1"], 2, "expected mm, at least 0, or none"),
        (["--resamples", "0"], 2, "--resamples is 0"),
        (["--threads", "-1"], 2, "--threads is -1"),
        (["--pred", "/nowhere/at/all"], 3, "no such folder"),
        (["--patients", "/nowhere/patients.csv"], 1, "no such file"),
    ],
)
def test_wrong_arguments_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert evaluate(write_folders(tmp_path), *words) == code
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_unpaired_files_are_refused_unless_only_common_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folders(tmp_path)
    (root / "pred" / "volume-2.nii.gz").unlink()
    assert evaluate(root) == 3
    err = capsys.readouterr().err
    assert "1 without a prediction" in err
    assert "volume-2.nii.gz" in err
    assert evaluate(root, "--only-common") == 0
    assert read(root / "out" / "summary.json")["cases"] == 2


def test_an_earlier_result_is_kept_unless_overwrite_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folders(tmp_path)
    assert evaluate(root) == 0
    assert evaluate(root, "--labels", "liver=1") == 2
    assert "holds an earlier result" in capsys.readouterr().err
    assert evaluate(root, "--labels", "liver=1", "--overwrite") == 0
    assert list(read(root / "out" / "summary.json")["classes"]) == ["liver"]
    (root / "out" / "mine.txt").touch()
    assert evaluate(root, "--overwrite") == 2


@pytest.mark.parametrize("with_key", [False, True])
def test_results_and_terminal_hold_no_private_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], with_key: bool
) -> None:
    root = tmp_path / f"{MARK}_in"
    names = (f"{MARK}_ANNA", f"{MARK}_BERTA", f"{MARK}_CLARA")
    write_folders(root, names)
    write_image(root / "truth" / f"{names[1]}.nii.gz", label()[1:], AFFINE)
    write_image(root / "pred" / f"{names[2]}.nii.gz", label() + np.uint8(4) * (label() == 2), AFFINE)
    (tmp_path / "patients.csv").write_text("case,patient\n" + "".join(f"{name},{name}\n" for name in names))
    words = ["--pred", str(root / "pred"), "--truth", str(root / "truth"), "-o", str(tmp_path / "out")]
    words += ["--baseline", str(root / "pred"), "--patients", str(tmp_path / "patients.csv"), "--labels", "tumour=2"]
    if with_key:
        write_key(tmp_path / "key.txt")
        words += ["--pseudonym-key", str(tmp_path / "key.txt")]
    assert main(["evaluate", *words, "--resamples", "20", "--tolerance", "none"]) == 4
    printed = capsys.readouterr()
    assert leaks(tmp_path / "out", printed.out + printed.err) == []
    rows = list(csv.DictReader((tmp_path / "out" / "cases.csv").open()))
    key = Pseudonymiser.from_file(tmp_path / "key.txt") if with_key else None
    assert rows[0]["case"] == ("case_0001" if key is None else key.patient(names[0]))
    (root / "pred" / f"{names[0]}.nii.gz").unlink()
    assert main(["evaluate", *words, "--overwrite"]) == 3
    err = capsys.readouterr().err
    assert leaks(err) == []
    assert "--show-names shows them" in err
    assert main(["evaluate", *words, "--overwrite", "--show-names"]) == 3
    assert names[0] in capsys.readouterr().err
