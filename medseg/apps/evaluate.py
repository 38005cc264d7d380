"""``medseg evaluate``: a folder of label maps scored against a folder of references; tables, summary and report out."""

from __future__ import annotations

import argparse
import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.inference.outputs.folder import staged_folder
from medseg.io.bounded.atomic import json_text, write_json, write_text
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.privacy.names import HiddenNames
from medseg.metrics.evaluation.case import check_lesion_classes
from medseg.metrics.evaluation.classes import parse_classes
from medseg.metrics.evaluation.figure import draw_comparison
from medseg.metrics.evaluation.folders import Evaluation, Settings, evaluate_pairs
from medseg.metrics.evaluation.pairs import CasePair, pair_files
from medseg.metrics.evaluation.report import report_html
from medseg.metrics.evaluation.summary import compare, summarise
from medseg.metrics.evaluation.tables import LESION_COLUMNS, case_rows, lesion_rows, lits_rows, write_csv

__all__ = ["EVALUATION_FILES", "main"]

EVALUATION_FILES = (
    *("summary.json", "cases.csv", "lesions.csv", "lits.csv", "report.html"),
    *("failed.csv", "baseline_cases.csv", "comparison.png"),
)
"""Names of the files in the result folder; those of the second row only where there is something to say."""

_SOME_FAILED = 4
_MAX_TABLE_BYTES = 2**24


def main(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args: ``pred``, ``truth``, ``output``, ``labels``, ``lesions``, ``scheme``, ``tolerance``, ``baseline``,
            ``patients``, ``only_common``, ``pseudonym_key``, ``resamples``, ``threads``, ``overwrite``, ``quiet``,
            ``json``.

    Returns:
        0, or 4 if some case could not be scored; every other failure is raised.
    """
    settings = _settings(args)
    with _as_integrity_errors():
        pairs = _pairs(args, args.pred)
        baseline_pairs = None if args.baseline is None else _pairs(args, args.baseline)
        patients = None if args.patients is None else _read_patients(Path(args.patients), pairs)
    with staged_folder(args.output, args.overwrite, EVALUATION_FILES) as folder:
        found = evaluate_pairs(pairs, settings, patients, _progress(args, "cases"))
        baseline = None
        if baseline_pairs is not None:
            baseline = evaluate_pairs(baseline_pairs, settings, patients, _progress(args, "baseline"))
        summary, failed = _write(folder, found, baseline, args)
    if args.json:
        print(json_text(summary))
    elif not args.quiet:
        print("\n".join([*_lines(found, summary, failed), f"results in {args.output}"]))
    return _SOME_FAILED if failed else 0


def _settings(args: argparse.Namespace) -> Settings:
    try:
        classes = parse_classes(args.labels, args.scheme)
        lesions = args.lesions
        if lesions is None:
            lesions = ["tumour"] if args.scheme == "lits" and "tumour" in classes else list(classes)
        check_lesion_classes(lesions, classes)
    except DataError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"--{error}") from None
    if args.resamples < 1:
        raise ConfigurationError(f"--resamples is {args.resamples}, expected at least 1")
    if args.threads is not None and args.threads < 1:
        raise ConfigurationError(f"--threads is {args.threads}, expected at least 1")
    threads = args.threads or len(os.sched_getaffinity(0))
    return Settings(classes, tuple(lesions), args.tolerance, args.scheme, threads)


def _pairs(args: argparse.Namespace, folder: str) -> list[CasePair]:
    from medseg.io.privacy.pseudonym import Pseudonymiser

    key = None if args.pseudonym_key is None else Pseudonymiser.from_file(args.pseudonym_key, [args.output])
    return pair_files(folder, args.truth, args.only_common, key)


def _read_patients(path: Path, pairs: Sequence[CasePair]) -> dict[str, str]:
    """The patient of every case, from a table with the columns ``case`` and ``patient``."""
    if path.stat().st_size > _MAX_TABLE_BYTES:
        raise DataError(f"{path}: larger than {_MAX_TABLE_BYTES} bytes, expected a table of cases and patients")
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error):
        raise DataError(f"{path}: is no table in UTF-8, expected CSV with the columns case and patient") from None
    if not rows or not {"case", "patient"} <= set(rows[0]):
        raise DataError(f"{path}: lacks a column, expected case (a file's name without its ending) and patient")
    found = {row["case"]: row["patient"] for row in rows if row["case"] and row["patient"]}
    missing = [pair.key for pair in pairs if pair.key not in found]
    if missing:
        raise DataError(f"{path}: names no patient for {shorten(missing, 4)}; add a row for every case")
    return found


def _write(
    folder: Path, found: Evaluation, baseline: Evaluation | None, args: argparse.Namespace
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Write all files; the summary, and the cases that failed."""
    names = HiddenNames(_inputs(args))
    failed = [
        {"case": case.name, "result": which, "reason": names.hide(case.reason)}
        for which, part in (("prediction", found), ("baseline", baseline))
        for case in (() if part is None else part.failed)
    ]
    if failed:
        write_csv(folder / "failed.csv", failed)
    if not found.names:
        return {"cases": 0, "failed": len(failed)}, failed
    summary = summarise(found, args.resamples)
    rows, picture = case_rows(found), None
    write_csv(folder / "cases.csv", rows)
    write_csv(folder / "lesions.csv", lesion_rows(found), LESION_COLUMNS)
    if found.settings.scheme == "lits":
        write_csv(folder / "lits.csv", lits_rows(found))
    if baseline is not None:
        summary["comparison"] = compare(found, baseline, args.resamples)
        write_csv(folder / "baseline_cases.csv", case_rows(baseline), list(rows[0]))
        picture = draw_comparison(folder / "comparison.png", found, baseline, summary["comparison"])
    summary["medseg"] = __version__
    reasons = [(row["case"], row["reason"]) for row in failed]
    write_text(folder / "report.html", report_html(summary, rows, reasons, picture, __version__))
    write_json(folder / "summary.json", summary)
    return summary, failed


def _lines(found: Evaluation, summary: dict[str, Any], failed: Sequence[dict[str, str]]) -> list[str]:
    """What is printed for people."""
    lines = [f"{summary['cases']} cases scored" + (f", {len(failed)} failed (failed.csv)" if failed else "")]
    for name, scores in summary.get("scores", {}).items():
        dice = scores["dice"]
        line = f"{name}: Dice {dice['mean']:.3f} ({dice['low']:.3f} to {dice['high']:.3f})"
        line += f", ASSD {scores['assd_mm']['mean']:.2f} mm in {scores['assd_mm']['items']} cases"
        if "lesions" in scores:
            half = scores["lesions"]["found_half"]
            line += f", lesions: precision {half['precision']:.3f}, recall {half['recall']:.3f}"
        lines.append(line)
    comparison = summary.get("comparison")
    for name, scores in (comparison["classes"] if comparison else {}).items():
        entry = scores["dice"]
        interval = f"{entry['low']:+.3f} to {entry['high']:+.3f}"
        lines.append(f"{name}: Dice {entry['difference']:+.3f} against the baseline ({interval})")
    return lines + [f"note: {line}" for line in found.notes[:8]]


def _inputs(args: argparse.Namespace) -> dict[str, str]:
    given = {"PRED": args.pred, "TRUTH": args.truth, "BASELINE": args.baseline}
    return {word: path for word, path in given.items() if path is not None}


def _progress(args: argparse.Namespace, what: str) -> Callable[[Iterable[CasePair]], Iterable[CasePair]]:
    from tqdm import tqdm

    return lambda pairs: tqdm(pairs, desc=what, disable=True if args.quiet or args.json else None)


@contextmanager
def _as_integrity_errors() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise IntegrityError(str(error)) from None
