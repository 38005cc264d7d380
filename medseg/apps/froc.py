"""``medseg froc``: marks of nodules scored as the LUNA16 challenge does, from its tables."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medseg.inference.errors import ConfigurationError
from medseg.io.bounded.atomic import json_text, write_text
from medseg.io.bounded.errors import DataError

if TYPE_CHECKING:
    from medseg.datasets.luna16 import Finding, Mark
    from medseg.metrics.froc import Froc

__all__ = ["main"]

_Row = TypeVar("_Row", "Finding", "Mark")


def main(args: argparse.Namespace) -> int:
    """Read the tables and print the sensitivities and their mean, the CPM.

    Args:
        args: ``marks``, ``nodules``, ``scans``, ``excluded``, ``only_listed``, ``resamples``, ``curve``, ``overwrite``,
            ``json``.
    """
    from medseg.datasets.luna16 import read_excluded, read_findings, read_marks, read_series
    from medseg.metrics.froc import FrocFinding, FrocMark, froc

    if args.resamples < 0:
        raise ConfigurationError(f"--resamples is {args.resamples}, expected 0 (no intervals) or more")
    curve = None if args.curve is None else Path(args.curve)
    if curve is not None and curve.exists() and not args.overwrite:
        raise ConfigurationError(f"{curve}: exists already; choose another name, or replace it with --overwrite")
    scans = read_series(args.scans)
    marks = _listed(args.marks, read_marks(args.marks), scans, args.only_listed)
    nodules = _listed(args.nodules, read_findings(args.nodules), scans, args.only_listed)
    excluded = [] if args.excluded is None else read_excluded(args.excluded)
    excluded = _listed(args.excluded, excluded, scans, args.only_listed)
    found = froc(
        [FrocMark(*mark) for mark in marks],
        [FrocFinding(*finding[:3]) for finding in nodules],
        scans,
        [FrocFinding(*finding[:3]) for finding in excluded],
        resamples=args.resamples,
    )
    if curve is not None:
        write_text(curve, _curve_csv(found))
    print(json_text(_report(found)) if args.json else _as_text(found))
    return 0


def _listed(path: str, rows: Sequence[_Row], scans: Sequence[str], only_listed: bool) -> list[_Row]:
    known = set(scans)
    others = sorted({row.series_uid for row in rows} - known)
    if others and not only_listed:
        raise DataError(
            f"{path}: names {len(others)} series that --scans does not list, such as {others[0]}; leave their rows out "
            "with --only-listed, as for one fold of a cross-validation"
        )
    return [row for row in rows if row.series_uid in known]


def _report(found: Froc) -> dict[str, Any]:
    return {
        "scans": found.scans,
        "nodules": found.nodules,
        "found": found.found,
        "false_positives": found.false_positives,
        "ignored_marks": found.ignored,
        "sensitivity_at": [
            {"fp_per_scan": rate, "sensitivity": item.value, "low": item.low, "high": item.high}
            for rate, item in zip(found.rates, found.sensitivity_at, strict=True)
        ],
        "cpm": {"value": found.cpm.value, "low": found.cpm.low, "high": found.cpm.high},
    }


def _as_text(found: Froc) -> str:
    head = (
        f"{found.scans} scans, {found.nodules} nodules: {found.found} found at the lowest threshold, "
        f"{found.false_positives} false positives, {found.ignored} marks neither right nor wrong"
    )
    rows = [
        f"{rate:>8g} {item.value:>12.3f}   {item.low:.3f} to {item.high:.3f}"
        for rate, item in zip(found.rates, found.sensitivity_at, strict=True)
    ]
    cpm = f"CPM {found.cpm.value:.3f} ({found.cpm.low:.3f} to {found.cpm.high:.3f})"
    return "\n".join([head, " FP/scan  sensitivity   95 % interval", *rows, cpm])


def _curve_csv(found: Froc) -> str:
    """The whole curve: the table of which the printed numbers are points."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("threshold", "fp_per_scan", "sensitivity"))
    points = zip(found.thresholds.tolist(), found.fp_per_scan.tolist(), found.sensitivity.tolist(), strict=True)
    writer.writerows(points)
    return text.getvalue()
