"""Take a result back to a LiTS file's own grid: ``python -m data_prep.lits_restore RESULT --record JSON --out F``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, output_path, run_command
from data_prep._options.image_warnings import print_image_warnings
from medseg.io.ct.statement_options import add_assumption_options, assumptions_of

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _restore(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.lits_restore",
        description="Undo what data_prep.lits did to a case's grid: axes go back into the source file's order and the "
        "result gets the source file's own affine, as an evaluation of the distributed files wants it.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("result", metavar="RESULT", type=Path, help="NIfTI file on the converted image's grid")
    parser.add_argument(
        "--record", required=True, type=Path, metavar="JSON", help="images/CASE.json written by data_prep.lits"
    )
    parser.add_argument("--out", required=True, type=output_path, metavar="FILE", help="file to write, .nii or .nii.gz")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    add_assumption_options(parser)
    return parser


def _restore(args: argparse.Namespace) -> None:
    if not args.out.name.lower().endswith((".nii", ".nii.gz")):
        raise UsageError(f"--out is {args.out}, expected a file name ending in .nii or .nii.gz")
    if args.out.exists() and not args.overwrite:
        raise UsageError(f"{args.out} exists already; choose another --out or add --overwrite")
    import numpy as np

    from medseg.geometry import compare_grids
    from medseg.geometry.regrid import Reordering
    from medseg.io.bounded.errors import DataError, UnreadableFileError
    from medseg.io.volumes.nifti import read_nifti, write_nifti

    record = _read_record(args.record)
    try:
        result = read_nifti(args.result, assume=assumptions_of(args))
    except ValueError as error:
        raise UnreadableFileError(str(error)) from error
    print_image_warnings(args.result, result.warnings)
    found = compare_grids(result.affine_ras, result.array.shape, record["affine_ras"], record["shape"])
    if found.kind != "same":
        raise DataError(
            f"{args.result} does not lie on the grid of {record['case']}: {found.describe()}, expected a result made "
            "on the converted image"
        )
    array = result.array
    if record["reordering"]:
        axes, flips = record["reordering"]["axes"], record["reordering"]["flips"]
        array = Reordering(tuple(axes), tuple(flips), 0.0).inverse().apply(array)
    write_nifti(args.out, np.ascontiguousarray(array), record["source_affine_ras"])
    shape = " x ".join(str(length) for length in array.shape)
    print(f"{args.out}: {shape} voxels on the grid of {record['image_source']['file']}")


def _read_record(path: Path) -> dict[str, Any]:
    from medseg.io.bounded.errors import DataError, os_reason

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise DataError(f"{path}: cannot be read as JSON ({reason}); expected images/CASE.json") from error
    needed = {"case", "image_source", "affine_ras", "shape", "reordering", "source_affine_ras"}
    if not isinstance(record, dict) or not needed <= record.keys():
        raise DataError(f"{path}: is no case record of data_prep.lits, expected images/CASE.json")
    return record


if __name__ == "__main__":
    sys.exit(main())
