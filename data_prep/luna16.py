"""LUNA16 findings as voxels of one image: ``python -m data_prep.luna16 --csv annotations.csv --image UID.mhd``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, run_command
from data_prep._options.image_warnings import print_image_warnings
from medseg.io.bounded.atomic import json_text
from medseg.io.ct.statement_options import add_assumption_options, assumptions_of

if TYPE_CHECKING:
    from medseg.datasets.luna16 import Finding
    from medseg.io.volumes.image import ImageInfo

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _report(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.luna16",
        description="The rows of a LUNA16 table that belong to one image, as voxels of it (the table holds LPS "
        "millimetres), and the nodules of data_prep.lidc that they show.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--csv", required=True, type=Path, metavar="FILE", help="annotations.csv, also with malignancy")
    parser.add_argument(
        "--image", required=True, type=Path, metavar="FILE", help="the CT: MetaImage, NIfTI or NRRD (header only)"
    )
    parser.add_argument(
        "--series", metavar="UID", help="SeriesInstanceUID (default: the image's file name, as in LUNA16)"
    )
    parser.add_argument(
        "--nodules", type=Path, metavar="FILE", help="nodules.json of data_prep.lidc, to be matched with the rows"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_assumption_options(parser)
    return parser


def _report(args: argparse.Namespace) -> None:
    from medseg.datasets.luna16 import read_findings
    from medseg.io.bounded.errors import DataError
    from medseg.io.volumes.image import image_suffix, read_image_info

    info = read_image_info(args.image, assume=assumptions_of(args))
    print_image_warnings(args.image, info.warnings)
    series = args.series or args.image.name[: -len(image_suffix(args.image))]
    findings = [item for item in read_findings(args.csv) if item.series_uid == series]
    if not findings:
        raise DataError(
            f"{args.csv}: no row for series {series}; LUNA16 lists only series with a nodule (see --series)"
        )
    nodules = _read_nodules(args.nodules) if args.nodules else []
    rows = _rows(findings, info, nodules)
    if args.json:
        print(json_text({"series_instance_uid": series, "shape": list(info.shape), "findings": rows}))
        return
    print("centre LPS mm                    diameter mm  voxel (i, j, k)           inside  nodule  distance mm")
    for row in rows:
        centre, voxel = (", ".join(f"{value:.2f}" for value in row[key]) for key in ("centre_lps_mm", "voxel"))
        partner = "-" if row["nodule_id"] is None else str(row["nodule_id"])
        distance = "-" if row["distance_mm"] is None else f"{row['distance_mm']:.2f}"
        inside = "yes" if row["inside"] else "NO"
        print(f"{centre:<32} {row['diameter_mm']:>11.2f}  {voxel:<25} {inside:<7} {partner:<7} {distance}")


def _rows(findings: Sequence[Finding], info: ImageInfo, nodules: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    import numpy as np

    from medseg.datasets.luna16 import findings_to_voxels, match_findings

    voxels = findings_to_voxels(findings, info.affine_ras)
    inside = np.all((voxels >= -0.5) & (voxels <= np.array(info.shape) - 0.5), axis=1)
    matches = {match.finding: match for match in match_findings(findings, [item["centre_lps_mm"] for item in nodules])}
    rows = []
    for index, finding in enumerate(findings):
        match = matches.get(index)
        rows.append(
            {
                "centre_lps_mm": list(finding.centre_lps_mm),
                "diameter_mm": finding.diameter_mm,
                "voxel": [round(float(value), 4) for value in voxels[index]],
                "inside": bool(inside[index]),
                "malignancy": list(finding.malignancy),
                "nodule_id": nodules[match.nodule]["nodule_id"] if match else None,
                "distance_mm": round(match.distance_mm, 4) if match else None,
            }
        )
    return rows


def _read_nodules(path: Path) -> list[dict[str, Any]]:
    from medseg.io.bounded.errors import DataError

    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path}: not a JSON file ({error})") from error
    known = isinstance(records, list) and all(
        isinstance(item, dict) and "nodule_id" in item and _is_point(item.get("centre_lps_mm")) for item in records
    )
    if not known:
        raise DataError(
            f"{path}: not a nodules.json of data_prep.lidc with centres in LPS mm (a CT is needed for them)"
        )
    return list(records)


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(x, (int, float)) for x in value)


if __name__ == "__main__":
    sys.exit(main())
