"""Keep k slices of a dense label along every axis: ``python -m data_prep.sparse --label L --slices K --out O``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, input_names, output_path, run_command
from data_prep._options.messages import print_warnings
from medseg.io.bounded.atomic import json_text
from medseg.io.ct.statement_options import add_assumption_options, assumptions_of

if TYPE_CHECKING:
    from medseg.datasets.sparse import SparseLabel
    from medseg.io.volumes.image import Image

__all__ = ["main"]

_PLANES = {"x": "sagittal", "y": "coronal", "z": "axial"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _make_sparse(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.sparse",
        description="Keep a few slices of a dense label map and mark all other voxels as unlabelled, as if only these "
        "slices had been annotated. Training ignores the unlabelled value (SparseAnnotationCrossEntropyLoss). A JSON "
        "record beside the output says what was kept.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--label", required=True, type=Path, metavar="L", help="dense label map, any supported format")
    parser.add_argument("--slices", required=True, type=int, metavar="K", help="slices to keep along every axis")
    parser.add_argument(
        "--axes",
        default="xyz",
        help="axes of the patient: x keeps sagittal, y coronal, z axial slices (default xyz); the closest array axis "
        "is taken",
    )
    parser.add_argument("--out", required=True, type=output_path, metavar="O", help="file to write, .nii or .nii.gz")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--spacing", choices=("even",), default="even", help="evenly spread slices (default)")
    how.add_argument("--seed", type=int, help="draw the slices at random instead, with this seed")
    parser.add_argument(
        "--within",
        choices=("foreground", "volume"),
        default="foreground",
        help="take slices between the first and the last that hold a label (default), or from the whole volume",
    )
    parser.add_argument(
        "--ignore-label", type=int, default=255, metavar="V", help="value of unlabelled voxels (default 255)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier output and its record")
    parser.add_argument("--json", action="store_true", help="print the record instead of the summary")
    add_assumption_options(parser)
    return parser


def _make_sparse(args: argparse.Namespace) -> None:
    record_path = _check_usage(args)
    from medseg.datasets.sparse import array_axes, choose_slices, sparsify
    from medseg.io.bounded.atomic import write_json
    from medseg.io.bounded.errors import DataError
    from medseg.io.volumes.image import read_image
    from medseg.io.volumes.nifti import write_nifti

    source = read_image(args.label, assume=assumptions_of(args))
    axes = array_axes(args.axes, source.affine_ras)
    try:
        slices = {
            axis: choose_slices(source.array, axis, args.slices, args.within, args.seed) for axis in axes.values()
        }
        sparse = sparsify(source.array, slices, args.ignore_label)
    except ValueError as error:
        raise DataError(f"{args.label}: {error}") from error
    record = _record(args, source, sparse, axes)
    write_nifti(args.out, sparse.array, source.affine_ras)
    write_json(record_path, record)
    print_warnings(record["warnings"], record_path)
    print(json_text(record) if args.json else _summary(args.out, record))


def _check_usage(args: argparse.Namespace) -> Path:
    """Refuse what the command line alone shows to be wrong, and give the record's path."""
    for suffix in (".nii.gz", ".nii"):
        if args.out.name.lower().endswith(suffix):
            record: Path = args.out.with_name(args.out.name[: -len(suffix)] + ".json")
            break
    else:
        raise UsageError(f"--out is {args.out}, expected a file name ending in .nii or .nii.gz")
    if not args.axes or len(set(args.axes)) != len(args.axes) or not set(args.axes) <= set("xyz"):
        raise UsageError(f"--axes is {args.axes!r}, expected one to three different letters of xyz")
    if args.slices < 1:
        raise UsageError(f"--slices is {args.slices}, expected at least 1")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed is {args.seed}, expected a number from 0")
    if not 0 <= args.ignore_label <= 255:
        raise UsageError(f"--ignore-label is {args.ignore_label}, expected 0 to 255")
    existing = [path for path in (args.out, record) if path.exists()]
    if existing and not args.overwrite:
        raise UsageError(f"{existing[0]} exists already; choose another --out or add --overwrite")
    return record


def _record(args: argparse.Namespace, source: Image, sparse: SparseLabel, axes: dict[str, int]) -> dict[str, Any]:
    import numpy as np

    from medseg.geometry import orientation_codes
    from medseg.io.bounded.checksum import sha256_of

    dense = {int(value): int(count) for value, count in zip(*np.unique(source.array, return_counts=True), strict=True)}
    left = {value: int(np.count_nonzero(sparse.array == value)) for value in dense}
    lost = [value for value, count in left.items() if not count]
    return {
        "source": {"file": input_names(args).label(args.label), "sha256": sha256_of(args.label)},
        "ignore_label": sparse.unlabelled,
        "meaning": f"{sparse.unlabelled} = not annotated; every other value, 0 included, is annotation",
        "chosen": "evenly spread" if args.seed is None else f"drawn with seed {args.seed}",
        "within": args.within,
        "orientation": "".join(orientation_codes(source.affine_ras)),
        "slices": [
            {"axis": name, "plane": _PLANES[name], "array_axis": axis, "indices": sparse.slices[axis]}
            for name, axis in axes.items()
        ],
        "labelled_share": round(sparse.labelled_share, 6),
        "voxels": {str(value): {"dense": dense[value], "sparse": left[value]} for value in dense},
        "warnings": [
            *source.info.warnings,
            *(f"label {value} has no annotated voxel left; keep more slices" for value in lost),
        ],
    }


def _summary(out: Path, record: dict[str, Any]) -> str:
    lines = [f"{out}: {record['labelled_share']:.2%} of the voxels annotated, the others {record['ignore_label']}"]
    for row in record["slices"]:
        lines.append(f"  {row['axis']} ({row['plane']}, array axis {row['array_axis']}): {row['indices']}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
