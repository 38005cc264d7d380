"""Merge label files into one label map: ``python -m data_prep.labels --in DIR --map PATTERN=VALUES --out FILE``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep._labels.sources import case_folders, layer_files, parse_rules
from data_prep._options.command_line import (
    EXIT_CODES,
    OneLineParser,
    UsageError,
    input_names,
    new_folder,
    output_path,
    run_command,
)
from data_prep._options.item_choice import SOME_REFUSED_TEXT, print_refused
from data_prep._options.messages import print_warnings
from medseg.io.bounded.atomic import json_text
from medseg.io.ct.statement_options import add_assumption_options, assumptions_of

__all__ = ["main"]

_MARKER = "labels.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _many_cases(args) if args.cases else _one_case(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.labels",
        description="Merge several label files of one scan, such as one file for every tumour, into one label map. The "
        "files must lie on one grid. A JSON record beside the output lists sources, conflicts and islands (connected "
        "parts).",
        epilog=EXIT_CODES + SOME_REFUSED_TEXT,
    )
    parser.add_argument("--in", dest="folder", required=True, type=Path, metavar="DIR", help="folder with label files")
    parser.add_argument(
        "--map",
        required=True,
        nargs="+",
        metavar="PATTERN=VALUES",
        help="new values of the files whose names (without ending) fit a pattern: 'tumour*=2' for all values above 0, "
        "'label=1:1,2:2' for single ones (a new value 0 leaves one out), 'vessel*=skip' to leave files out; the first "
        "pattern that fits counts",
    )
    parser.add_argument(
        "--on-conflict",
        choices=("refuse", "first", "last", "highest"),
        default="refuse",
        help="a voxel that two files claim with different values: refuse (default), or take the value of the file that "
        "is first or last in the order of --map, or the highest value",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=output_path,
        metavar="O",
        help="file to write, .nii or .nii.gz; with --cases a folder",
    )
    parser.add_argument(
        "--instances", type=output_path, metavar="FILE", help="also write the number of the island of every voxel"
    )
    parser.add_argument("--image", type=Path, metavar="FILE", help="image whose grid the files must lie on")
    parser.add_argument(
        "--cases",
        action="store_true",
        help="every folder in DIR is a case: write O/CASE.nii.gz for each; one that cannot be merged is refused alone",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier output")
    parser.add_argument("--json", action="store_true", help="print the record instead of the summary")
    add_assumption_options(parser)
    return parser


def _one_case(args: argparse.Namespace) -> None:
    from data_prep._labels.merge import merge_case, write_case

    rules = parse_rules(args.map)
    outputs = [args.out] if args.instances is None else [args.out, args.instances]
    for path, option in zip(outputs, ("--out", "--instances"), strict=False):
        if not path.name.lower().endswith((".nii", ".nii.gz")):
            raise UsageError(f"{option} is {path}, expected a file name ending in .nii or .nii.gz")
    record_path = args.out.with_name(args.out.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    existing = [path for path in (*outputs, record_path) if path.exists()]
    if existing and not args.overwrite:
        raise UsageError(f"{existing[0]} exists already; choose another --out or add --overwrite")
    files = layer_files(args.folder, rules)
    merged, affine, record = merge_case(files, args.image, args.on_conflict, input_names(args), assumptions_of(args))
    write_case(args.out, args.instances, merged, affine, record)
    print_warnings(record["warnings"], record_path)
    print(json_text(record) if args.json else _summary(args.out, record))


def _many_cases(args: argparse.Namespace) -> int:
    from data_prep._labels.merge import merge_case, write_case
    from medseg.io.bounded.atomic import write_json
    from medseg.io.bounded.errors import DataError

    for value, option in ((args.instances, "--instances"), (args.image, "--image")):
        if value is not None:
            raise UsageError(f"{option} belongs to one case; leave it out with --cases")
    rules = parse_rules(args.map)
    names, assume = input_names(args), assumptions_of(args)
    cases: dict[str, Any] = {}
    refused: list[dict[str, str]] = []
    with new_folder(args.out, args.overwrite, _MARKER) as folder:
        for case in case_folders(args.folder):
            try:
                merged, affine, record = merge_case(
                    layer_files(case.path, rules), None, args.on_conflict, names, assume
                )
            except DataError as error:
                refused.append({"name": case.name, "reason": " ".join(str(error).split())})
                continue
            write_case(folder / f"{case.name}.nii.gz", None, merged, affine, record)
            cases[case.name] = {key: record[key] for key in ("voxels", "conflicts", "warnings")}
            cases[case.name]["islands"] = len(record["islands"]) + record["islands_not_listed"]
        if not cases:
            more = f" (and {len(refused) - 1} more cases)" if len(refused) > 1 else ""
            raise DataError(f"{refused[0]['reason']}{more}")
        summary = {"on_conflict": args.on_conflict, "cases": cases, "refused": names.hide_in(refused)}
        write_json(folder / _MARKER, summary)
    print_warnings([f"{n}: {line}" for n, entry in cases.items() for line in entry["warnings"]], args.out / _MARKER)
    code = print_refused(refused, args.out / _MARKER)
    print(json_text(summary) if args.json else f"{args.out}: {len(cases)} label maps")
    return code


def _summary(out: Path, record: dict[str, Any]) -> str:
    count = len(record["islands"]) + record["islands_not_listed"]
    lines = [f"{out}: {len(record['sources'])} file(s), {count} island(s)"]
    lines += [f"  label {value}: {voxels} voxels" for value, voxels in record["voxels"].items() if value != "0"]
    lines += [f"  {c['voxels']} voxels of {c['lost']} went to {c['kept']}" for c in record["conflicts"]]
    lines += [
        f"  island {i['number']}: label {i['value']}, {i['volume_ml']:.3g} ml, from {', '.join(i['sources'])}"
        for i in record["islands"][:10]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
