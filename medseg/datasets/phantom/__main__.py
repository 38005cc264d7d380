"""Command line: write synthetic cases, ``python -m medseg.datasets.phantom --kind abdomen --count 10 --out DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["build_parser", "main"]

_DEFAULT_SPACING = {"abdomen": (3.0, 3.0, 3.0), "chest": (1.5, 1.5, 1.5)}


def build_parser() -> argparse.ArgumentParser:
    """The options, without importing anything heavy."""
    parser = argparse.ArgumentParser(
        prog="python -m medseg.datasets.phantom",
        description="Write synthetic CT cases with known truth (no patient data): DIR/KIND_0000, DIR/KIND_0001 ...",
    )
    parser.add_argument("--kind", choices=["abdomen", "chest"], required=True, help="anatomy")
    parser.add_argument("--count", type=int, default=1, help="number of cases (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first case; the others follow (default 0)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the case folders")
    parser.add_argument("--format", choices=["nifti", "dicom", "both"], default="nifti", help="default nifti")
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="mm; default 3 3 3 or, for a chest, 1.5 1.5 1.5",
    )
    parser.add_argument("--orientation", default="LPS", help="array axes, e.g. LPS (default, usual in DICOM) or RAS")
    parser.add_argument("--lesions", type=int, help="tumours or nodules a case (default: random)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the cases; returns 0, or 2 after one line of error."""
    options = build_parser().parse_args(argv)
    try:
        if options.count < 1:
            raise ValueError(f"--count is {options.count}, expected at least 1")
        for number in range(options.count):
            name = f"{options.kind}_{number:04d}"
            if (options.out / name).exists():
                raise ValueError(f"{options.out / name}: exists already; choose another --out or remove it first")
            print(_write_case(options, name, options.seed + number), flush=True)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _write_case(options: argparse.Namespace, name: str, seed: int) -> Path:
    from medseg.datasets.phantom import abdomen_phantom, chest_phantom, write_phantom_dicom, write_phantom_nifti

    spacing = options.spacing or _DEFAULT_SPACING[options.kind]
    if options.kind == "abdomen":
        phantom = abdomen_phantom(seed, spacing_mm=spacing, orientation=options.orientation, n_tumours=options.lesions)
    else:
        phantom = chest_phantom(seed, spacing_mm=spacing, orientation=options.orientation, n_nodules=options.lesions)
    case: Path = options.out / name
    if options.format in ("dicom", "both"):
        write_phantom_dicom(phantom, case)
    if options.format in ("nifti", "both"):
        write_phantom_nifti(phantom, options.out, name)
    return case


if __name__ == "__main__":
    sys.exit(main())
