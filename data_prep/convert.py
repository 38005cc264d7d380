"""Convert one DICOM CT series to NIfTI with a JSON sidecar: ``python -m data_prep.convert IN OUT``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._options.assumptions import rescale_from
from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, output_path, run_command
from data_prep._options.messages import print_warnings
from data_prep._options.pseudonyms import SeriesPseudonyms, add_privacy_options, pseudonyms_from
from data_prep._options.repair_policy import policy_from
from medseg.io.bounded.atomic import json_text
from medseg.io.ct.policy_options import add_policy_options
from medseg.io.ct.statement_options import add_rescale_option

if TYPE_CHECKING:
    from medseg.io.ct.series import CtSeries

__all__ = ["main", "output_paths", "part_path", "write_series"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _convert(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.convert",
        description="Convert one DICOM CT series to NIfTI (int16 Hounsfield units) and a JSON sidecar. "
        "Series with missing or duplicate slices, variable spacing, gantry tilt or unreadable files are refused; "
        "options name rules by which irregular slices are repaired or split instead.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("input", metavar="IN", type=Path, help="folder with the DICOM files (searched recursively)")
    parser.add_argument(
        "output",
        metavar="OUT",
        type=output_path,
        help="a path ending in .nii.gz or .nii is the image itself; any other path is a folder, in which ct.nii.gz and "
        "ct.json are written; a series that is split goes to OUT_1, OUT_2 ...",
    )
    parser.add_argument(
        "--series",
        metavar="UID",
        help="SeriesInstanceUID, where the folder holds several CT series; UID#N for one grid of a series that mixes "
        "several (data_prep.ls lists them)",
    )
    parser.add_argument("--group", type=int, metavar="N", help="the same as #N after the UID")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier image and sidecar")
    parser.add_argument("--json", action="store_true", help="print the sidecar (of a split: a list) for the summary")
    add_policy_options(parser)
    add_rescale_option(parser)
    add_privacy_options(parser)
    return parser


def _convert(args: argparse.Namespace) -> None:
    if not args.input.is_dir():
        raise UsageError(f"{args.input}: no such folder; IN must be a folder with DICOM files")
    chosen = args.series if args.group is None else f"{args.series or ''}#{args.group}"
    if args.group is not None and "#" in (args.series or ""):
        raise UsageError(f"--series {args.series} and --group {args.group} both choose a grid; give one of them")
    policy = policy_from(args)
    if "split" not in (policy.gap, policy.variable):
        _check_free([args.output], args.overwrite)
    pseudonyms = pseudonyms_from(args, [output_paths(args.output)[0].parent])
    from medseg.io.ct.series import read_parts

    parts = read_parts(
        args.input,
        chosen,
        policy=policy,
        allow_burned_in=args.allow_burned_in,
        assume_rescale=rescale_from(args),
    )
    targets = [part_path(args.output, part.part) for part in parts]
    _check_free(targets, args.overwrite)
    facts = [
        write_series(part, output_paths(target)[0], pseudonyms) for part, target in zip(parts, targets, strict=True)
    ]
    if args.json:
        print(json_text(facts if len(facts) > 1 else facts[0]))
        return
    print_warnings((line for part in parts for line in part.warnings), output_paths(targets[0])[1])
    for part, target, found in zip(parts, targets, facts, strict=True):
        spacing = " x ".join(f"{value:g}" for value in found["spacing_mm"])
        shape = " x ".join(str(n) for n in found["shape"])
        ignored = f"{part.ignored_files} other files ignored"
        print(f"{output_paths(target)[0]}: {shape} voxels of {spacing} mm, {found['orientation']}, {ignored}")


def _check_free(outputs: Sequence[Path], overwrite: bool) -> None:
    existing = [path for out in outputs for path in output_paths(out) if path.exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists already; choose another OUT or add --overwrite")


def part_path(out: Path, part: int) -> Path:
    """OUT of one even stretch: ``case_2.nii.gz`` or folder ``OUT_2``; part 0 (not split) is OUT itself."""
    if part == 0:
        return out
    suffix = next((s for s in (".nii.gz", ".nii") if out.name.lower().endswith(s) and not out.is_dir()), "")
    return out.with_name(f"{out.name[: len(out.name) - len(suffix)]}_{part}{out.name[len(out.name) - len(suffix) :]}")


def output_paths(out: Path) -> tuple[Path, Path]:
    """Image and sidecar that belong to OUT: OUT itself if it ends in .nii.gz or .nii, else ``OUT/ct.nii.gz``."""
    for suffix in (".nii.gz", ".nii"):
        if out.name.lower().endswith(suffix) and not out.is_dir():
            return out, out.with_name(out.name[: -len(suffix)] + ".json")
    return out / "ct.nii.gz", out / "ct.json"


def write_series(series: CtSeries, image: Path, pseudonyms: SeriesPseudonyms | None = None) -> dict[str, Any]:
    """Write a series as NIfTI and its sidecar beside it; each file appears whole or not at all.

    Args:
        series: what ``medseg.io.ct.series.read_series`` returned.
        image: path ending in .nii.gz or .nii.
        pseudonyms: gives the patient a pseudonym and the UIDs new ones; None keeps the UIDs and names no patient.

    Returns:
        The sidecar's contents.
    """
    from medseg.io.bounded.atomic import write_json
    from medseg.io.ct.sidecar import series_sidecar
    from medseg.io.volumes.nifti import write_nifti

    facts = series_sidecar(series)
    if pseudonyms is not None:
        facts = pseudonyms.apply(series, facts)
    write_nifti(image, series.array, series.affine_ras)
    write_json(output_paths(image)[1], facts)
    return facts


if __name__ == "__main__":
    sys.exit(main())
