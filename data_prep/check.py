"""Check a data set and mend its labels: ``python -m data_prep.check DATASET_JSON [--out DIR] [--fix RULE]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._check.case import FIXES, CaseReport, Problem, Stated, check_case
from data_prep._check.pairs import Pair, PairList, pairs_given, pairs_of_dataset, pairs_of_folders
from data_prep._options.assumptions import rescale_from
from data_prep._options.command_line import (
    EXIT_CODES,
    OneLineParser,
    UsageError,
    input_names,
    new_folder,
    output_path,
    run_command,
)
from data_prep._options.item_choice import add_choice_options, choice_from
from medseg.io.bounded.atomic import json_text
from medseg.io.ct.statement_options import add_assumption_options, add_rescale_option, assumptions_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from medseg.io.privacy.names import HiddenNames

__all__ = ["PRIORS_HU", "main"]

PRIORS_HU = {"liver": (40.0, 180.0), "spleen": (40.0, 200.0), "lung": (-980.0, -500.0)}
"""Intensities of whole organs by label name, with and without contrast agent, used where --prior-hu is not given."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    left: list[int] = []
    return run_command(lambda: left.append(_check(args)), args) or (3 if left[0] else 0)


def _parser() -> argparse.ArgumentParser:
    rules = "; ".join(f"{name}: {meaning}" for name, meaning in FIXES.items())
    parser = OneLineParser(
        prog="python -m data_prep.check",
        description="Check every image and label of a data set: readable, whole label values, and whether the label "
        "lies on the image's grid; a difference is classified (rounding, re-ordered, other extent, header flipped, "
        "misregistered) with the largest displacement in mm at the corners. Also: two cases with the same voxels.",
        epilog=f"Rules of --fix, tried in the order given: {rules}. Several are carried out on a case that needs "
        "several. A rule is not carried out where the intensities under the label clearly speak against it. "
        f"{EXIT_CODES.replace('(nothing was written)', 'or problems left')}",
    )
    parser.add_argument("dataset", metavar="DATASET_JSON", type=Path, nargs="?", help="a Decathlon-style list")
    parser.add_argument("--images", type=Path, metavar="DIR", help="instead of a list: folder with the images")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="folder with labels of the same names")
    parser.add_argument(
        "--pair", nargs=2, type=Path, action="append", metavar=("IMAGE", "LABEL"), help="or one pair; may be repeated"
    )
    parser.add_argument(
        "--out", type=output_path, metavar="DIR", help="write integrity.json and a picture for each offender"
    )
    parser.add_argument(
        "--fix", choices=tuple(FIXES), action="append", default=[], help="mend by this rule; repeatable"
    )
    parser.add_argument(
        "--out-data", type=output_path, metavar="DIR", help="folder for the mended copy of the data set"
    )
    parser.add_argument("--link", action="store_true", help="in --out-data, link to unchanged files instead of copying")
    parser.add_argument(
        "--prior-hu",
        nargs=2,
        type=float,
        metavar=("LO", "HI"),
        help=f"plausible intensities under the label; default by its name: {_priors_text()}",
    )
    parser.add_argument("--tolerance", type=float, default=0.01, metavar="MM", help="rounding, default 0.01 mm")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier output of this command")
    parser.add_argument("--json", action="store_true", help="print integrity.json instead of the table")
    add_choice_options(parser, "cases", "by name, as the table has it")
    add_assumption_options(parser)
    add_rescale_option(parser)
    return parser


def _priors_text() -> str:
    return ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in PRIORS_HU.items())


def _check(args: argparse.Namespace) -> int:
    """Check, write, print; returns the number of cases that are left with a problem."""
    found, names = _chosen(args, _pairs(args)), _names(args)
    stated = Stated(assumptions_of(args), rescale_from(args))
    if args.fix and not args.out_data:
        raise UsageError("--fix and --out-data belong together: nothing is mended in place")
    if args.out_data and not args.fix and stated.is_empty():
        raise UsageError("--out-data needs a rule (--fix) or a statement (such as --assume-space) to carry out")
    if not args.tolerance >= 0:
        raise UsageError(f"--tolerance is {args.tolerance}, expected a number of mm from 0")
    from data_prep._check.output import integrity, table
    from medseg.io.bounded.atomic import write_json

    settings = {
        "tolerance_mm": args.tolerance,
        "prior_hu": _prior(args, found.labels),
        "fixes": args.fix,
        "stated": stated.record(),
    }
    with _folder(args.out, args) as report_folder, _folder(args.out_data, args) as data_folder:
        reports = [_one(pair, found, settings, stated, report_folder) for pair in found.pairs]
        for report in reports:
            report.problems = [replace(item, text=args.fit_message(item.text)) for item in report.problems]
            report.notes = [args.fit_message(line) for line in report.notes]
        _find_twins(reports)
        if data_folder is not None:
            _mend(found, reports, args, stated, data_folder)
        lonely = Problem("unmatched", "no file of the other folder has its name; rename one, or use --pair IMAGE LABEL")
        reports += [CaseReport(names.label(path), (), problems=[lonely]) for path in found.unmatched]
        content = integrity(reports, settings)
        content["reports"] = names.hide_in(content["reports"])
        for folder in (report_folder, data_folder):
            if folder is not None:
                write_json(folder / "integrity.json", content)
    in_full = "what --json prints" if args.out is None else str(args.out / "integrity.json")
    print(json_text(content) if args.json else table(reports, in_full) + "\n" + _closing_line(content))
    return int(content["left"])


def _names(args: argparse.Namespace) -> HiddenNames:
    """The names under all inputs; beside a list of cases, those of the files that it lists."""
    return input_names(args, **({} if args.dataset is None else {"FOLDER": args.dataset.parent}))


def _closing_line(content: dict[str, Any]) -> str:
    return "{cases} cases, {offenders} with problems, {fixed} fixed, {left} left".format(**content)


def _pairs(args: argparse.Namespace) -> PairList:
    ways = [args.dataset is not None, args.images is not None or args.labels is not None, bool(args.pair)]
    if sum(ways) != 1:
        raise UsageError("give one of DATASET_JSON, --images with --labels, or --pair")
    if args.dataset is not None:
        return pairs_of_dataset(args.dataset)
    if args.pair:
        return pairs_given(args.pair)
    if args.images is None or args.labels is None:
        raise UsageError("--images and --labels belong together")
    return pairs_of_folders(args.images, args.labels)


def _chosen(args: argparse.Namespace, found: PairList) -> PairList:
    """The cases that --only and --skip leave; files without a partner belong to none."""
    choice = choice_from(args)
    choice.check("the cases", "case", [(pair.name,) for pair in found.pairs])
    return found._replace(pairs=tuple(pair for pair in found.pairs if choice.wants(pair.name)))


def _prior(args: argparse.Namespace, labels: dict[int, str] | None) -> tuple[float, float] | None:
    if args.prior_hu is not None:
        low, high = args.prior_hu
        if not low < high:
            raise UsageError(f"--prior-hu is {low:g} {high:g}, expected the lower value first")
        return low, high
    names = {name.lower() for value, name in (labels or {}).items() if value != 0}
    known = [PRIORS_HU[name] for name in PRIORS_HU if name in names]
    return known[0] if len(known) == 1 else None


def _folder(out: Path | None, args: argparse.Namespace) -> AbstractContextManager[Path | None]:
    from contextlib import nullcontext

    return nullcontext(None) if out is None else new_folder(out, args.overwrite, marker="integrity.json")


def _one(pair: Pair, found: PairList, settings: dict[str, Any], stated: Stated, folder: Path | None) -> CaseReport:
    """Check one case and, if its geometry is wrong, draw it; its voxels are let go afterwards."""
    from data_prep._check.overlay import write_overlay

    report, image, label = check_case(pair, found.labels, settings["prior_hu"], settings["tolerance_mm"], stated)
    if folder is not None and report.problems and image is not None and label is not None:
        kinds = ", ".join(problem.kind for problem in report.problems)
        write_overlay(folder / f"{pair.name}.png", f"{pair.name}: {kinds}", image, label)
    return report


def _find_twins(reports: Sequence[CaseReport]) -> None:
    """Cases with the same image voxels: leakage if one is for training and the other is not, else duplicates."""
    by_digest: dict[str, list[CaseReport]] = {}
    for report in reports:
        if len(set(report.lists)) > 1:
            report.problems.append(Problem("leakage", f"the case is in several lists: {', '.join(report.lists)}"))
        if report.image_sha256 is not None:
            by_digest.setdefault(report.image_sha256, []).append(report)
    for twins in by_digest.values():
        for report in twins[1:]:
            first = twins[0]
            kind = "duplicate" if set(report.lists) == set(first.lists) else "leakage"
            where = "" if kind == "duplicate" else f" ({', '.join(first.lists)}; this one {', '.join(report.lists)})"
            report.problems.append(Problem(kind, f"the image has the same voxels as that of {first.name}{where}"))


def _mend(
    found: PairList, reports: Sequence[CaseReport], args: argparse.Namespace, stated: Stated, folder: Path
) -> None:
    """Write the mended data set; cases that no rule settles are not in it."""
    from data_prep._check.case import load
    from data_prep._check.fix import choose_fixes
    from data_prep._check.output import write_case, write_list

    items = []
    for pair, report in zip(found.pairs, reports, strict=True):
        fixes = choose_fixes(report, args.fix)
        if fixes == ("exclude",):
            report.fix = {"rule": "exclude", "meaning": FIXES["exclude"]}
        elif fixes or not report.problems:
            label = None if pair.label is None else load(pair.label, stated)
            item = write_case(folder, pair, report, load(pair.image, stated), label, fixes, args.link)
            items += [] if item is None else [(pair, item)]
    write_list(folder, items, reports, found.labels)


if __name__ == "__main__":
    sys.exit(main())
