"""Export for nnU-Net v2: ``python -m data_prep.nnunet --dataset JSON --out nnUNet_raw --id 501 --name Liver``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, new_folder, output_path, run_command
from data_prep._options.item_choice import SOME_REFUSED_TEXT, add_choice_options, choice_from, print_refused
from medseg.io.ct.statement_options import add_assumption_options, assumptions_of

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _export(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.nnunet",
        description="Make nnUNet_raw/DatasetXXX_NAME from a Decathlon-style dataset.json: imagesTr, labelsTr, "
        "imagesTs, dataset.json and splits_final.json (patients are never divided between folds). A case that cannot "
        "be exported is refused with the reason; the others are written.",
        epilog=EXIT_CODES + SOME_REFUSED_TEXT,
    )
    parser.add_argument("--dataset", required=True, type=Path, metavar="DATASET_JSON", help="list of cases")
    parser.add_argument("--out", required=True, type=output_path, metavar="DIR", help="nnU-Net's raw folder")
    parser.add_argument("--id", required=True, type=int, metavar="N", help="number of the data set, 1 to 999")
    parser.add_argument("--name", required=True, help="name of the data set, letters, digits and _")
    parser.add_argument(
        "--guide",
        metavar="KEY",
        help="key of the items under which the path of a guide map lies; it becomes the last input channel, as it is",
    )
    parser.add_argument(
        "--missing-guide",
        choices=("refuse", "zero"),
        default="refuse",
        help="a case without a guide: refused (default), or given an all-zero one, which means no guide",
    )
    parser.add_argument(
        "--ignore-label", type=int, metavar="V", help="value of unlabelled voxels; becomes nnU-Net's ignore label"
    )
    parser.add_argument(
        "--patient-key",
        default="patient",
        metavar="KEY",
        help="key of the items that names the patient (default patient); without it every case is its own patient",
    )
    parser.add_argument("--folds", type=int, default=5, help="number of folds (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the folds (default 0)")
    parser.add_argument(
        "--preprocessed",
        type=output_path,
        metavar="DIR",
        help="nnU-Net's folder for preprocessed data; splits_final.json is written there too, where training reads it",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    add_choice_options(parser, "cases", "by the name of the image file without its ending")
    add_assumption_options(parser)
    return parser


def _export(args: argparse.Namespace) -> int:
    _check_usage(args)
    from data_prep._nnunet.export import Export, read_cases, write_export
    from medseg.io.bounded.atomic import write_json

    content = read_cases(args.dataset, args.guide, args.missing_guide, args.patient_key, choice_from(args))
    folder_name = f"Dataset{args.id:03d}_{args.name}"
    splits_copy = None if args.preprocessed is None else args.preprocessed / folder_name / "splits_final.json"
    if splits_copy is not None and splits_copy.exists() and not args.overwrite:
        raise UsageError(f"{splits_copy} exists already; add --overwrite to replace it")
    with new_folder(args.out / folder_name, args.overwrite, marker="dataset.json") as folder:
        export = Export(folder, args.guide, args.ignore_label, args.folds, args.seed, assumptions_of(args))
        summary = write_export(export, content)
    if splits_copy is not None:
        write_json(splits_copy, summary["splits"])
    code = print_refused(summary["refused"], "dataset.json")
    _report(args, summary, args.out / folder_name)
    return code


def _check_usage(args: argparse.Namespace) -> None:
    if not 1 <= args.id <= 999:
        raise UsageError(f"--id is {args.id}, expected 1 to 999")
    if not (args.name.isascii() and args.name.replace("_", "").isalnum()):
        raise UsageError(f"--name is {args.name!r}, expected letters, digits and _")
    if args.folds < 2:
        raise UsageError(f"--folds is {args.folds}, expected at least 2")
    if args.seed < 0:
        raise UsageError(f"--seed is {args.seed}, expected a number from 0")
    if args.missing_guide == "zero" and args.guide is None:
        raise UsageError("--missing-guide zero needs --guide KEY")


def _report(args: argparse.Namespace, summary: dict[str, Any], folder: Path) -> None:
    for line in summary["warnings"]:
        print(f"warning: {line}", file=sys.stderr)
    sizes = ", ".join(str(len(split["val"])) for split in summary["splits"])
    print(
        f"{folder}: {summary['training']} training and {summary['test']} test case(s), channels "
        f"{list(summary['channels'].values())}, labels {summary['labels']}"
    )
    print(f"splits_final.json: {len(summary['splits'])} folds of {summary['patients']} patients, validation {sizes}")
    if args.preprocessed is None:
        print(f"copy splits_final.json to nnUNet_preprocessed/{folder.name}/ before training: else nnU-Net draws folds")


if __name__ == "__main__":
    sys.exit(main())
