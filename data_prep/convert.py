"""Convert one DICOM CT series to NIfTI with a JSON sidecar: ``python -m data_prep.convert IN OUT``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._cli import EXIT_CODES, OneLineParser, UsageError, run_command

if TYPE_CHECKING:
    from medseg.io.dicom_series import CtSeries

__all__ = ["main", "output_paths", "write_series"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _convert(args))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.convert",
        description="Convert one DICOM CT series to NIfTI (int16 Hounsfield units) and a JSON sidecar. "
        "Series with missing or duplicate slices, variable spacing, gantry tilt or unreadable files are refused.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("input", metavar="IN", type=Path, help="folder with the DICOM files (searched recursively)")
    parser.add_argument(
        "output",
        metavar="OUT",
        type=Path,
        help="a path ending in .nii.gz or .nii is the image itself; any other path is a folder, in which ct.nii.gz and "
        "ct.json are written",
    )
    parser.add_argument("--series", metavar="UID", help="SeriesInstanceUID, where the folder holds several CT series")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier image and sidecar")
    parser.add_argument("--json", action="store_true", help="print the sidecar instead of the summary")
    return parser


def _convert(args: argparse.Namespace) -> None:
    if not args.input.is_dir():
        raise UsageError(f"{args.input}: no such folder; IN must be a folder with DICOM files")
    image, sidecar = output_paths(args.output)
    existing = [path for path in (image, sidecar) if path.exists()]
    if existing and not args.overwrite:
        raise UsageError(f"{existing[0]} exists already; choose another OUT or add --overwrite")
    from medseg.io.dicom_series import read_series

    series = read_series(args.input, args.series)
    facts = write_series(series, image)
    if args.json:
        print(json.dumps(facts, indent=2))
        return
    for warning in series.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    spacing = " x ".join(f"{value:g}" for value in facts["spacing_mm"])
    shape = " x ".join(str(n) for n in facts["shape"])
    print(
        f"{image}: {shape} voxels of {spacing} mm, {facts['orientation']}, {series.ignored_files} other files ignored"
    )


def output_paths(out: Path) -> tuple[Path, Path]:
    """Image and sidecar that belong to OUT: OUT itself if it ends in .nii.gz or .nii, else ``OUT/ct.nii.gz``."""
    for suffix in (".nii.gz", ".nii"):
        if out.name.lower().endswith(suffix) and not out.is_dir():
            return out, out.with_name(out.name[: -len(suffix)] + ".json")
    return out / "ct.nii.gz", out / "ct.json"


def write_series(series: CtSeries, image: Path) -> dict[str, Any]:
    """Write a series as NIfTI and its sidecar beside it; each file appears whole or not at all.

    Args:
        series: what ``medseg.io.dicom_series.read_series`` returned.
        image: path ending in .nii.gz or .nii.

    Returns:
        The sidecar's contents.
    """
    from medseg.io.atomic import write_json
    from medseg.io.nifti import write_nifti
    from medseg.io.sidecar import series_sidecar

    facts = series_sidecar(series)
    write_nifti(image, series.array, series.affine_ras)
    write_json(output_paths(image)[1], facts)
    return facts


if __name__ == "__main__":
    sys.exit(main())
