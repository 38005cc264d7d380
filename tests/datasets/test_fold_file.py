"""Fold files: what they hold, and what their audit finds."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from medseg.datasets.fold_file import FoldCase, audit_folds, fold_table, read_folds, write_folds
from medseg.io.bounded.errors import DataError

CASES = [FoldCase(f"s{i}", f"p{i // 2}", i % 3 == 0) for i in range(60)]
CASES = [case._replace(label=int(case.label)) for case in CASES]


def test_a_written_table_reads_back_and_passes_its_audit(tmp_path: Path) -> None:
    table = fold_table(CASES, 5, seed=3, policy={"labels": "every third"})
    write_folds(tmp_path / "folds.json", table)
    found = read_folds(tmp_path / "folds.json")
    assert found == table
    assert audit_folds(found) == []
    assert (found["seed"], found["folds"], found["policy"]) == (3, 5, {"labels": "every third"})
    assert found["cases_by_fold_and_label"] == [{"0": 8, "1": 4}] * 5
    fold_of: dict[str, set[int]] = {}
    for row in found["cases"]:
        fold_of.setdefault(row["group"], set()).add(row["fold"])
    assert len(fold_of) == 30
    assert all(len(folds) == 1 for folds in fold_of.values())


def test_leakage_and_edits_are_found(tmp_path: Path) -> None:
    table = fold_table(CASES, 5)
    leaked = copy.deepcopy(table)
    leaked["cases"][0]["fold"] = (leaked["cases"][0]["fold"] + 1) % 5
    lines = audit_folds(leaked)
    assert lines[0].startswith("group 'p0' is in folds [")
    assert lines[-1] == "cases_by_fold_and_label does not fit the cases: the file was edited"
    with pytest.raises(DataError, match="not written: group 'p0'"):
        write_folds(tmp_path / "folds.json", leaked)
    assert not (tmp_path / "folds.json").exists()
    doubled = {**table, "cases": [*table["cases"], table["cases"][0]]}
    assert "case 's0' is listed more than once" in audit_folds(doubled)
    assert "case 's0' is in fold 9 of 5" in audit_folds({**table, "cases": [{**table["cases"][0], "fold": 9}]})
    one = {**table, "cases": [row for row in table["cases"] if row["fold"] != 4]}
    assert "fold 4 has no case of label 0, 1" in audit_folds(one)


def test_names_must_be_unique() -> None:
    with pytest.raises(ValueError, match="1 case names occur more than once"):
        fold_table([*CASES, CASES[0]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a JSON file"),
        ("[]", "not a fold file"),
        ('{"format": "medseg-folds-1"}', "a whole number 'folds' and a list 'cases'"),
        (
            '{"format": "medseg-folds-1", "folds": 2, "cases": [{"name": "a", "group": "b"}]}',
            "case 1 has no valid 'label'",
        ),
        ('{"format": "medseg-folds-1", "folds": 2, "cases": [3]}', "case 1 has no valid 'name'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "folds.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_folds(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert json.dumps(str(caught.value)).count("\\n") == 0
