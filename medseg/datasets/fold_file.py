"""Folds in a JSON file that states how they were made, and a check that no group is in two folds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medseg.datasets.splits import grouped_folds
from medseg.io.bounded.atomic import write_json
from medseg.io.bounded.errors import DataError

__all__ = ["FORMAT", "FoldCase", "audit_folds", "fold_table", "read_folds", "write_folds"]

FORMAT = "medseg-folds-1"
MAX_BYTES = 256 * 1024 * 1024


class FoldCase(NamedTuple):
    """One case to be put into a fold.

    Attributes:
        name: unique name, e.g. series and number of the nodule.
        group: what must stay together: the patient.
        label: class by which the folds are stratified.

    >>> FoldCase("scan_7 nodule_2", group="patient_7", label=1).group
    'patient_7'
    """

    name: str
    group: str
    label: int


def fold_table(
    cases: Sequence[FoldCase], folds: int = 5, seed: int = 0, policy: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Divide cases into folds by group, stratified by label (``grouped_folds``).

    Args:
        cases: with unique names.
        folds: number of folds.
        seed: order of equally large groups.
        policy: how the cases and their labels were chosen, kept in the table.

    Returns:
        What ``write_folds`` writes: format, folds, seed, policy, the number of cases by fold and label, and all cases
        with their fold.

    Raises:
        ValueError: if a name occurs twice, or there are fewer groups than folds.

    >>> cases = [FoldCase(f"scan_{n}", f"patient_{n // 2}", n % 2) for n in range(8)]
    >>> fold_table(cases, folds=2)["cases_by_fold_and_label"]
    [{'0': 2, '1': 2}, {'0': 2, '1': 2}]
    """
    twice = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    if twice:
        raise ValueError(f"{len(twice)} case names occur more than once, e.g. {twice[0]!r}; names must be unique")
    parts = grouped_folds([case.group for case in cases], [case.label for case in cases], folds, seed)
    fold_of = {int(index): fold for fold, part in enumerate(parts) for index in part}
    rows = [{**case._asdict(), "fold": fold_of[index]} for index, case in enumerate(cases)]
    return {
        "format": FORMAT,
        "folds": folds,
        "seed": seed,
        "grouped_by": "group: all cases of a group are in one fold",
        "policy": dict(policy or {}),
        "cases_by_fold_and_label": _counts(rows, folds),
        "cases": rows,
    }


def write_folds(path: str | Path, table: Mapping[str, Any]) -> None:
    """Write a table of ``fold_table`` as JSON, after checking it.

    Raises:
        DataError: if ``audit_folds`` finds anything.

    >>> cases = [FoldCase(f"scan_{n}", f"patient_{n // 2}", n % 2) for n in range(8)]
    >>> write_folds("folds.json", fold_table(cases, folds=2))
    """
    problems = audit_folds(table)
    if problems:
        raise DataError(f"{path}: not written: {problems[0]}")
    write_json(Path(path), table)


def read_folds(path: str | Path) -> dict[str, Any]:
    """Read a fold file; ``audit_folds`` says whether it can be trusted.

    Raises:
        DataError: if the file is not a fold file.

    >>> cases = [FoldCase(f"scan_{n}", f"patient_{n // 2}", n % 2) for n in range(8)]
    >>> write_folds("folds.json", fold_table(cases, folds=2))
    >>> read_folds("folds.json")["folds"]
    2
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size} bytes, expected at most {MAX_BYTES} for a fold file")
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise DataError(f"{path}: not a fold file; expected an object with format {FORMAT!r}")
    if not isinstance(table.get("folds"), int) or not isinstance(table.get("cases"), list):
        raise DataError(f"{path}: a fold file has a whole number 'folds' and a list 'cases'")
    for number, row in enumerate(table["cases"], start=1):
        kinds = {"name": str, "group": str, "label": int, "fold": int}
        wrong = [key for key, kind in kinds.items() if not isinstance(row, dict) or type(row.get(key)) is not kind]
        if wrong:
            raise DataError(f"{path}: case {number} has no valid {wrong[0]!r}")
    return table


def audit_folds(table: Mapping[str, Any]) -> list[str]:
    """Problems that would make results on these folds wrong, one line each; empty if there is none.

    Looks for groups in several folds (leakage), cases listed twice, folds out of range or without cases, labels that
    are missing in a fold, and counts that do not match the cases.

    >>> cases = [FoldCase(f"scan_{n}", f"patient_{n // 2}", n % 2) for n in range(8)]
    >>> audit_folds(fold_table(cases, folds=2))
    []
    """
    rows, folds = table["cases"], table["folds"]
    lines = []
    where: dict[str, set[int]] = {}
    for row in rows:
        where.setdefault(row["group"], set()).add(row["fold"])
    for group, found in where.items():
        if len(found) > 1:
            lines.append(f"group {group!r} is in folds {sorted(found)}: training and test share it")
    twice = [name for name, count in Counter(row["name"] for row in rows).items() if count > 1]
    lines += [f"case {name!r} is listed more than once" for name in twice]
    lines += [
        f"case {row['name']!r} is in fold {row['fold']} of {folds}" for row in rows if row["fold"] not in range(folds)
    ]
    for fold in range(folds):
        have = {row["label"] for row in rows if row["fold"] == fold}
        lacking = sorted({row["label"] for row in rows} - have)
        if lacking:
            lines.append(f"fold {fold} has no case of label {', '.join(map(str, lacking))}")
    if table.get("cases_by_fold_and_label") != _counts(rows, folds):
        lines.append("cases_by_fold_and_label does not fit the cases: the file was edited")
    return lines


def _counts(rows: Sequence[Mapping[str, Any]], folds: int) -> list[dict[str, int]]:
    counts = [Counter(str(row["label"]) for row in rows if row["fold"] == fold) for fold in range(folds)]
    return [dict(sorted(count.items())) for count in counts]
