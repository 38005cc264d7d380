"""Patient-grouped folds of LIDC-IDRI nodules: ``python -m data_prep.lidc_folds --out FILE`` or ``--check FILE``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep._lidc.policy_options import add_cluster_option, add_malignancy_options, malignancy_policy, nodule_policy
from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, output_path, run_command

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _check(args.check) if args.check else _make(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.lidc_folds",
        description="Divide the labelled nodules of the LIDC-IDRI annotation database into folds: a patient is never "
        "split, classes are spread evenly, and the file says how it was made. --check audits such a file.",
        epilog=EXIT_CODES,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=output_path, metavar="FILE", help="JSON file to write")
    what.add_argument("--check", type=Path, metavar="FILE", help="look for leakage in a fold file; exit code 3 if any")
    parser.add_argument("--folds", type=int, default=10, metavar="N", help="number of folds (default 10)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="order of equally large patients (default 0)")
    parser.add_argument(
        "--max-thickness", type=float, metavar="MM", help="leave out scans of a larger SliceThickness (LUNA16: 2.5)"
    )
    add_cluster_option(parser)
    add_malignancy_options(parser)
    parser.add_argument("--database", type=Path, metavar="FILE", help="another copy of the SQLite file")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return parser


def _make(args: argparse.Namespace) -> None:
    if args.out.exists() and not args.overwrite:
        raise UsageError(f"{args.out} exists already; choose another --out or add --overwrite")
    policy, malignancy = nodule_policy(args), malignancy_policy(args)
    from medseg.datasets.fold_file import FoldCase, fold_table, write_folds
    from medseg.datasets.lidc.labels import labelled_nodules

    nodules = list(labelled_nodules(policy, malignancy, args.max_thickness, args.database))
    cases = [FoldCase(f"{item.series_uid}/{item.nodule_id}", item.patient_id, item.label) for item in nodules]
    words = policy.describe()
    table = fold_table(
        cases,
        args.folds,
        args.seed,
        {
            "names": "SeriesInstanceUID / nodule_id, numbered from superior to inferior over all nodules of the scan",
            "cluster": words["cluster"],
            "cluster_definition": words["cluster_definition"],
            "malignancy": malignancy.describe(),
            "labels": "0 benign, 1 malignant, by radiologists' opinion, not pathology",
            "max_slice_thickness_mm": args.max_thickness,
        },
    )
    write_folds(args.out, table)
    print(f"{args.out}: {len(cases)} nodules of {len({case.group for case in cases})} patients in {args.folds} folds")
    print(f"{malignancy.describe()}; cluster {words['cluster']}")
    for fold, counts in enumerate(table["cases_by_fold_and_label"]):
        print(f"fold {fold}: {counts.get('0', 0)} benign, {counts.get('1', 0)} malignant")


def _check(path: Path) -> None:
    from medseg.datasets.fold_file import audit_folds, read_folds
    from medseg.io.bounded.errors import DataError, shorten

    table = read_folds(path)
    problems = audit_folds(table)
    if problems:
        raise DataError(f"{path}: {shorten(problems, 3)}")
    groups = len({row["group"] for row in table["cases"]})
    print(f"{path}: {len(table['cases'])} cases of {groups} groups in {table['folds']} folds, no group in two folds")


if __name__ == "__main__":
    sys.exit(main())
