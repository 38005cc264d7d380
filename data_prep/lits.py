"""Convert LiTS, known faults repaired or refused: ``python -m data_prep.lits --images DIR --labels DIR --out DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._options.command_line import (
    EXIT_CODES,
    OneLineParser,
    UsageError,
    input_names,
    new_folder,
    output_path,
    run_command,
)
from data_prep._options.item_choice import SOME_REFUSED, SOME_REFUSED_TEXT, add_choice_options, choice_from
from data_prep._options.messages import print_warnings
from medseg.io.bounded.atomic import json_text
from medseg.io.ct.statement_options import add_assumption_options, assumptions_of

if TYPE_CHECKING:
    from medseg.datasets.lits import LitsCase

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _convert(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.lits",
        description="Convert LiTS to DIR/images, DIR/labels (0 background, 1 liver, 2 tumour), a JSON record beside "
        "every image, dataset.json, report.json, fingerprint.json and fingerprint.png. Cases are found in any "
        "sub-folders and taken in numeric order. Known faults are repaired by a versioned table and recorded; a case "
        "that stays in doubt is refused and the others are written.",
        epilog=EXIT_CODES + SOME_REFUSED_TEXT,
    )
    parser.add_argument(
        "--images", required=True, type=Path, metavar="DIR", help="folder with volume-N.nii[.gz] and test-volume-N"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="DIR", help="folder with segmentation-N.nii[.gz] (default: the --images folder)"
    )
    parser.add_argument("--out", required=True, type=output_path, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--accept-unverified",
        action="store_true",
        help="apply spacings of the table that were not checked against a source file (volumes 28 to 47); the repaired "
        "liver must measure 0.7 to 3.5 litres",
    )
    parser.add_argument(
        "--min-tumour-ml",
        type=float,
        default=0.05,
        metavar="ML",
        help="tumours are counted in all and from this volume on (default 0.05); labels are not changed",
    )
    parser.add_argument(
        "--external",
        action="append",
        default=[],
        type=Path,
        metavar="DATASET_JSON",
        help="a data set meant for external testing; refused if it holds patients of LiTS (3D-IRCADb, MSD Task03)",
    )
    parser.add_argument("--folds", type=int, default=5, help="every labelled case gets a fold number (default 5 folds)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the folds (default 0)")
    parser.add_argument(
        "--validation-fold", type=int, metavar="F", help="fold that becomes the validation list (default: none)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier output of this command")
    parser.add_argument("--json", action="store_true", help="print report.json instead of the table")
    add_choice_options(parser, "cases", "by name, such as volume-3")
    add_assumption_options(parser)
    return parser


def _convert(args: argparse.Namespace) -> int:
    for folder in filter(None, (args.images, args.labels)):
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
    if not 0 <= args.min_tumour_ml < float("inf"):
        raise UsageError(f"--min-tumour-ml is {args.min_tumour_ml}, expected a volume from 0")
    _check_folds(args)
    from medseg.datasets.lits import find_cases
    from medseg.io.bounded.atomic import write_json

    cases = find_cases(args.images, args.labels, allow_partial=True)
    choice = choice_from(args)
    choice.check(args.images, "case", [(case.name,) for case in cases])
    wanted = [case for case in cases if choice.wants(case.name)]
    _check_external(args.external, wanted)
    with new_folder(args.out, args.overwrite, marker="dataset.json") as folder:
        report = _write_cases(args, wanted, folder)
        report["left_out"] = [case.name for case in cases if not choice.wants(case.name)]
        report["refused"] = input_names(args).hide_in(report["refused"])
        write_json(folder / "report.json", report)
    print_warnings(report["warnings"], args.out / "report.json")
    print_warnings((row["reason"] for row in report["refused"]), args.out / "report.json", "refused")
    print(json_text(report) if args.json else _table(report))
    return SOME_REFUSED if report["refused"] else 0


def _check_folds(args: argparse.Namespace) -> None:
    if args.folds < 2 or args.seed < 0:
        raise UsageError(f"--folds is {args.folds} and --seed {args.seed}, expected at least 2 folds and a seed from 0")
    if args.validation_fold is not None and not 0 <= args.validation_fold < args.folds:
        raise UsageError(f"--validation-fold is {args.validation_fold}, expected 0 to {args.folds - 1}")


def _check_external(paths: Sequence[Path], cases: Sequence[LitsCase]) -> None:
    from data_prep._options.dataset_json import case_names
    from medseg.datasets.lits import refuse_shared_patients

    for path in paths:
        refuse_shared_patients([case.name for case in cases], case_names(path))


def _write_cases(args: argparse.Namespace, cases: Sequence[LitsCase], folder: Path) -> dict[str, Any]:
    from data_prep._lits.output import FoldPlan, LitsWriter
    from medseg.datasets.lits import prepare_case
    from medseg.io.bounded.errors import DataError

    writer = LitsWriter(folder)
    refused: list[dict[str, str]] = []
    for number, case in enumerate(cases, start=1):
        try:
            if case.fault:
                raise DataError(case.fault)
            writer.add(prepare_case(case, args.accept_unverified, args.min_tumour_ml, assumptions_of(args)))
        except DataError as error:
            refused.append({"case": case.name, "reason": " ".join(str(error).split())})
        if sys.stderr.isatty():
            print(f"\r{number}/{len(cases)} cases", end="\n" if number == len(cases) else "", file=sys.stderr)
    if len(refused) == len(cases):
        more = f" (and {len(refused) - 1} more cases)" if len(refused) > 1 else ""
        raise DataError(f"{refused[0]['reason']}{more}")
    return writer.finish(args.out.name, refused, FoldPlan(args.folds, args.seed, args.validation_fold))


def _table(report: dict[str, Any]) -> str:
    lines = [f"{'case':<16} {'spacing mm':<20} {'axes':<5} {'liver l':>8} {'tumours':>8}  changes"]
    for row in report["written"]:
        spacing = " x ".join(f"{step:.4g}" for step in row["spacing_mm"])
        litres = "-" if row["liver_litres"] is None else f"{row['liver_litres']:.2f}"
        tumours = "-" if row["tumours"] is None else str(row["tumours"])
        changes = ", ".join(row["changes"]) or "none"
        lines.append(f"{row['case']:<16} {spacing:<20} {row['orientation']:<5} {litres:>8} {tumours:>8}  {changes}")
    lines.append(f"{len(report['written'])} case(s) written, {len(report['refused'])} refused")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
