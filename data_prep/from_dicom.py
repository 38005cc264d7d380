"""Read DICOM SEG or RTSTRUCT into NIfTI masks: ``python -m data_prep.from_dicom F.dcm [--series DIR] --out DIR``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, new_folder, output_path, run_command
from data_prep._options.item_choice import SOME_REFUSED_TEXT, add_choice_options, choice_from, print_refused
from data_prep._options.messages import print_warnings
from medseg.io.bounded.atomic import json_text
from medseg.io.ct.statement_options import add_assumption_options, assumptions_of

if TYPE_CHECKING:
    from medseg.geometry import Grid
    from medseg.io.results.segment_masks import SegmentMasks
    from medseg.io.results.source import SourceSeries

__all__ = ["main"]

_MARKER = "segments.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _convert(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        renamed={"--series UID": "--series-uid UID"},
        prog="python -m data_prep.from_dicom",
        description="Write every segment of a DICOM SEG, or every structure of an RTSTRUCT, as a NIfTI mask of its "
        "own, with names, codes, volumes and warnings in segments.json. Patient and study are not written; segment "
        "names and the UIDs of the series are. A segment that cannot be used is refused with the reason; the others "
        "are written.",
        epilog=EXIT_CODES + SOME_REFUSED_TEXT,
    )
    parser.add_argument("input", metavar="FILE", type=Path, help="a SEG or RTSTRUCT file")
    grid = parser.add_mutually_exclusive_group()
    grid.add_argument(
        "--series",
        type=Path,
        metavar="DIR",
        help="folder of the CT series that was segmented: masks lie on its grid. Without it a SEG lies on the grid "
        "that its frames span; an RTSTRUCT needs --series or --like",
    )
    grid.add_argument("--like", type=Path, metavar="IMAGE", help="put the masks on this image's grid, in its order")
    parser.add_argument("--series-uid", metavar="UID", help="SeriesInstanceUID, where DIR holds several CT series")
    parser.add_argument("--out", required=True, type=output_path, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--labelmap",
        action="store_true",
        help="write one file labels.nii.gz of segment numbers; refused if segments overlap",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="make masks of fractional segments: 1 where the fraction is at least X (default: keep fractions)",
    )
    parser.add_argument(
        "--combine",
        choices=("xor", "union"),
        default="xor",
        help="rtstruct: whether a contour inside another of the same structure is a hole (default) or filled",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier output of this command")
    parser.add_argument("--json", action="store_true", help="print segments.json instead of the summary")
    add_choice_options(parser, "segments or structures", "by name or number")
    add_assumption_options(parser)
    return parser


def _convert(args: argparse.Namespace) -> int:
    if not args.input.is_file():
        raise UsageError(f"{args.input}: no such file; FILE must be a DICOM SEG or RTSTRUCT")
    with new_folder(args.out, args.overwrite, _MARKER) as folder:
        target, notes = _target(args)
        masks = _read(args, target)
        masks = replace(masks, warnings=(*notes, *masks.warnings))
        if args.threshold is not None:
            masks = masks.binary(args.threshold)
        facts = _write_folder(masks, folder, args.labelmap)
    code = print_refused(facts["refused"], args.out / _MARKER)
    if args.json:
        print(json_text(facts))
        return code
    print_warnings(masks.warnings, args.out / _MARKER)
    shape = " x ".join(str(n) for n in masks.shape)
    print(f"{args.out}: {len(masks.segments)} segment(s) on {shape} voxels, {facts['orientation']}")
    for row in facts["segments"]:
        print(f"  {row['number']}: {row['name']}, {row['volume_ml']:.3f} ml")
    return code


def _target(args: argparse.Namespace) -> tuple[SourceSeries | Grid | None, tuple[str, ...]]:
    """The grid on which the masks are written, and warnings about it."""
    if args.series is not None:
        from medseg.io.results.source import read_source

        return read_source(args.series, args.series_uid), ()
    if args.like is not None:
        from medseg.geometry import Grid
        from medseg.io.volumes.image import read_image

        image = read_image(args.like, assume=assumptions_of(args))
        i, j, k = image.array.shape
        return Grid(image.affine_ras, (i, j, k)), tuple(f"grid of the masks: {line}" for line in image.info.warnings)
    return None, ()


def _read(args: argparse.Namespace, target: SourceSeries | Grid | None) -> SegmentMasks:
    from medseg.io.results.frames import read_dicom

    modality = str(read_dicom(args.input, pixels=False).get("Modality", ""))
    if modality == "RTSTRUCT":
        if target is None:
            raise UsageError("an RTSTRUCT has contours and no grid; give --series DIR or --like IMAGE")
        from medseg.io.results.rtstruct_read import read_rtstruct

        return read_rtstruct(args.input, target, args.combine, choice=choice_from(args), allow_partial=True)
    from medseg.io.results.seg_read import read_seg

    return read_seg(args.input, target, choice=choice_from(args), allow_partial=True)


def _write_folder(masks: SegmentMasks, folder: Path, labelmap: bool) -> dict[str, Any]:
    """Write masks and segments.json into an empty folder; returns the contents of the latter."""
    import numpy as np

    from medseg.geometry import orientation_codes, spacing_of
    from medseg.io.bounded.atomic import write_json
    from medseg.io.volumes.nifti import write_nifti

    files = ["labels.nii.gz"] * len(masks.segments) if labelmap else _file_names(masks)
    if labelmap:
        write_nifti(folder / "labels.nii.gz", masks.label_map(), masks.affine_ras)
    else:
        for index, name in enumerate(files):
            mask = masks.mask(index)
            write_nifti(folder / name, mask.astype(np.uint8) if mask.dtype == bool else mask, masks.affine_ras)
    rows = []
    for index, (segment, name) in enumerate(zip(masks.segments, files, strict=True)):
        rows.append(
            {
                "number": segment.info.number,
                "file": name,
                **segment.info.as_json(),
                "fractional": segment.is_fractional,
                "voxels": int((segment.box > 0).sum()),
                "volume_ml": round(masks.volume_ml(index), 6),
            }
        )
    facts = {
        "shape": list(masks.shape),
        "spacing_mm": [round(float(value), 9) for value in spacing_of(masks.affine_ras)],
        "orientation": "".join(orientation_codes(masks.affine_ras)),
        "affine_ras": masks.affine_ras.tolist(),
        "segments": rows,
        "refused": [row._asdict() for row in masks.refused],
        "left_out": list(masks.left_out),
        "source": dict(masks.source),
        "warnings": list(masks.warnings),
    }
    write_json(folder / _MARKER, facts)
    return facts


def _file_names(masks: SegmentMasks) -> list[str]:
    """``001_liver.nii.gz``: number and name, with characters replaced that file systems do not allow."""
    names = []
    for segment in masks.segments:
        word = re.sub(r"[^A-Za-z0-9]+", "_", segment.info.name).strip("_").lower()[:40] or "segment"
        names.append(f"{segment.info.number:03d}_{word}.nii.gz")
    return names


if __name__ == "__main__":
    sys.exit(main())
