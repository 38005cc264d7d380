"""List the DICOM series of a folder with a verdict on each: ``python -m data_prep.ls DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, run_command
from medseg.io.bounded.atomic import json_text

if TYPE_CHECKING:
    from medseg.io.ct.scan import SeriesEntry, SeriesListing

__all__ = ["main", "series_rows"]

_SYNTAXES = {
    "1.2.840.10008.1.2": "implicit LE",
    "1.2.840.10008.1.2.1": "explicit LE",
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.2": "explicit BE",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS lossy",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000 lossy",
    "1.2.840.10008.1.2.5": "RLE",
}
_COLUMNS = ("series", "modality", "files", "size", "spacing mm", "positions mm", "axes", "syntax", "verdict")
_UID_TAIL = 12


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    args.show_names |= args.paths
    return run_command(lambda: _list(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.ls",
        description="One row for each DICOM series under DIR (for each grid, where a series mixes several): size, "
        "spacing from positions, and whether it makes a CT volume, or what is wrong in mm and which options of "
        "data_prep.convert repair it. Headers alone are read, and the pixels of slices that share a position, to tell "
        "copies from different images. No patient data and no free text are printed.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder with DICOM files (searched recursively)")
    parser.add_argument("--json", action="store_true", help="print JSON with whole UIDs instead of the table")
    parser.add_argument("--uids", action="store_true", help="print whole UIDs in the table, as --series takes them")
    parser.add_argument("--deep", action="store_true", help="decode all CT pixels too, and say where that fails")
    parser.add_argument(
        "--paths", action="store_true", help="also name folders and unreadable files; paths can name patients"
    )
    parser.add_argument(
        "--descriptions", action="store_true", help="also print SeriesDescription: free text that can name patients"
    )
    return parser


def _list(args: argparse.Namespace) -> None:
    if not args.folder.is_dir():
        raise UsageError(f"{args.folder}: no such folder; DIR must be a folder with DICOM files")
    from medseg.io.bounded.errors import DataError
    from medseg.io.ct.scan import list_series

    listing = list_series(args.folder)
    if not (listing.series or listing.objects or listing.unreadable):
        raise DataError(f"{args.folder}: no DICOM files among {listing.ignored} files; expected a folder with a series")
    rows = series_rows(listing, deep=args.deep, paths=args.paths, descriptions=args.descriptions)
    if args.json:
        print(json_text({"series": rows, **_rest(listing, args.paths)}))
        return
    columns = [*_COLUMNS[:-1], *(name for name in ("description", "folders") if rows and name in rows[0]), "verdict"]
    tail = 64 if args.uids else _telling_length([row["series"].partition("#")[0] for row in rows])
    for line in _table(columns, [_cells(row, columns, tail) for row in rows]):
        print(line)
    _print_rest(listing, args)


def series_rows(
    listing: SeriesListing, *, deep: bool = False, paths: bool = False, descriptions: bool = False
) -> list[dict[str, Any]]:
    """Facts and verdict of every series of a folder, ready for JSON.

    Args:
        listing: what ``medseg.io.ct.scan.list_series`` found.
        deep: decode the pixels of CT volumes.
        paths: add the folders of each series.
        descriptions: add SeriesDescription.
    """
    rows = []
    for entry in (*listing.series, *listing.objects):
        row = _row(entry)
        if deep and entry.kind == "ct":
            _look_deep(entry, row)
        if descriptions:
            row["description"] = entry.description
        if paths:
            row["folders"] = sorted({str(h.path.parent.relative_to(listing.folder)) for h in entry.headers})
        rows.append(row)
    return rows


def _row(entry: SeriesEntry) -> dict[str, Any]:
    from medseg.io.bounded.remedies import fit_remedies
    from medseg.io.ct.verdict import judge_series
    from medseg.io.privacy.names import shown_term, shown_uid

    first, verdict = entry.headers[0], judge_series(entry)
    size = [first.text(keyword) for keyword in ("Columns", "Rows")]
    is_image = entry.kind != "object" and all(side.isdecimal() for side in size)
    return {
        "series": shown_uid(entry.name),
        "modality": entry.modality if shown_term(entry.modality) == entry.modality else "",
        "kind": entry.kind,
        "files": entry.file_count,
        "size": [int(size[0]), int(size[1]), len(entry.headers)] if is_image else [],
        "transfer_syntax": sorted({shown_uid(header.transfer_syntax) for header in entry.headers}),
        **asdict(verdict),
        "findings": tuple(fit_remedies(line, options=()) for line in verdict.findings),
    }


def _look_deep(entry: SeriesEntry, row: dict[str, Any]) -> None:
    from medseg.io.bounded.errors import DataError
    from medseg.io.ct.pixels import SliceDecoder

    decoder, failed, reason = SliceDecoder(), 0, ""
    lowest, highest = float("inf"), float("-inf")
    for header in sorted(entry.headers, key=lambda header: (header.path, header.frame)):
        try:
            values = decoder.decode(header).hu
            lowest, highest = min(lowest, int(values.min())), max(highest, int(values.max()))
        except DataError as error:
            failed, reason = failed + 1, reason or str(error).replace(f"{header.path}: ", "")
    row["hu_range"] = [lowest, highest] if lowest <= highest else []
    if failed:
        row["status"], row["fix"] = "refused", ""
        row["findings"] = (*row["findings"], f"{failed} of {len(entry.headers)} slices cannot be decoded: {reason}")


def _telling_length(uids: Sequence[str]) -> int:
    """How many last characters tell all UIDs apart; at least 12."""
    different = set(uids)
    return next((n for n in range(_UID_TAIL, 64) if len({uid[-n:] for uid in different}) == len(different)), 64)


def _cells(row: dict[str, Any], columns: Sequence[str], tail: int) -> list[str]:
    spacing, ends = row["spacing_mm"], row["range_mm"]
    steps = "/".join(f"{step:g}" for step in spacing[2:5]) + ("/..." if len(spacing) > 5 else "")
    uid, _, group = row["series"].partition("#")
    short = uid if len(uid) <= tail + 3 else f"...{uid[-tail:]}"
    angle = f" {row['off_axis_deg']:.1f} deg" if row["off_axis_deg"] > 0.1 else ""
    deep = f" (HU {row['hu_range'][0]} to {row['hu_range'][1]})" if row.get("hu_range") else ""
    words = "; ".join((*row["findings"], *([f"in data_prep.convert use {row['fix']}"] if row["fix"] else [])))
    cells = {
        "series": short + (f"#{group}" if group else "") or "(empty UID)",
        "modality": row["modality"] or "?",
        "files": str(row["files"]),
        "size": " x ".join(map(str, row["size"])) or "-",
        "spacing mm": " x ".join([f"{spacing[0]:.4g}", f"{spacing[1]:.4g}", steps or "?"]) if spacing else "-",
        "positions mm": f"{ends[0]:g} to {ends[1]:g}" if ends else "-",
        "axes": row["axes"] + angle if row["axes"] else "-",
        "syntax": ", ".join(dict.fromkeys(_SYNTAXES.get(uid, "other") for uid in row["transfer_syntax"])),
        "description": row.get("description", ""),
        "folders": ", ".join(row.get("folders", ())),
        "verdict": row["status"] + deep + (f": {words}" if words else ""),
    }
    return [cells[name] for name in columns]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[n]) for line in (columns, *rows)) for n in range(len(columns))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (columns, *rows)
    ]
    return [line.rstrip() for line in lines]


def _rest(listing: SeriesListing, paths: bool) -> dict[str, Any]:
    damaged = [{"path": str(path.relative_to(listing.folder)), "reason": reason} for path, reason in listing.unreadable]
    return {"not_dicom": listing.ignored, "unreadable": damaged if paths else len(damaged)}


def _print_rest(listing: SeriesListing, args: argparse.Namespace) -> None:
    if listing.ignored:
        print(f"{listing.ignored} other files are not DICOM")
    if listing.unreadable:
        hint = "" if args.paths else " (--paths names them)"
        print(f"{len(listing.unreadable)} DICOM file(s) cannot be read; series beside them are refused{hint}")
    for item in _rest(listing, True)["unreadable"] if args.paths else ():
        print(f"  {item['path']}: {item['reason']}")


if __name__ == "__main__":
    sys.exit(main())
