"""A LIDC-IDRI case without its CT: masks on the grid that the annotation database records for the series."""

from __future__ import annotations

import argparse

from data_prep._lidc.checks import nodule_warnings
from data_prep._lidc.output import LidcCase
from data_prep._lidc.with_ct import DATABASE_NOTE
from medseg.datasets.lidc import NodulePolicy, Reading, build_nodules, find_reading, read_database, read_scan
from medseg.datasets.lidc.grid import annotation_grid
from medseg.io.bounded.errors import DataError

__all__ = ["read_case"]


def read_case(args: argparse.Namespace, policy: NodulePolicy) -> LidcCase:
    """Read annotations and grid and build the nodules.

    Args:
        args: the command line of ``data_prep.lidc``.
        policy: how annotations are grouped, filled and joined.

    Raises:
        RuntimeError: if no database is installed.
        DataError: if the database does not hold the series, its slices are uneven, or an XML file outlines something on
            a slice that the database does not list.
    """
    scan, stored = read_scan(args.series), read_database(args.series)
    grid = annotation_grid(scan, stored.slice_z_mm)
    reading, notes = _read_annotations(args, stored)
    nodules = build_nodules(reading, grid.affine_ras, grid.shape, policy, scan.slice_thickness_mm)
    absent = sorted({z for nodule in nodules for z in nodule.absent_z_mm})
    outlined = sum(len(items) for nodule in nodules for items in nodule.annotations.values())
    if absent or outlined < len(reading.annotations):
        where = f" (z {absent[0]:g} mm)" if absent else ""
        raise DataError(f"series {args.series}: outlines lie on slices that the database does not list{where}")
    notes.append("no CT: x and y are measured from the first pixel, whose place in the patient is unknown")
    warnings = [*notes, *reading.warnings, *nodule_warnings(nodules, reading)]
    return LidcCase(reading, tuple(nodules), grid.affine_ras, grid.shape, warnings)


def _read_annotations(args: argparse.Namespace, stored: Reading) -> tuple[Reading, list[str]]:
    if args.annotations == "database" or args.xml is None:
        return stored, [DATABASE_NOTE]
    reading, _, skipped = find_reading(args.xml, args.series)
    return reading, skipped
