"""A LIDC-IDRI case without its CT: masks on the grid that the annotation database records for the series."""

from __future__ import annotations

import argparse

import numpy as np

from data_prep._lidc.checks import count_annotations, judge_nodules, nodule_warnings
from data_prep._lidc.output import LidcCase
from data_prep._lidc.with_ct import DATABASE_NOTE
from data_prep._options.item_choice import choice_from
from medseg.datasets.lidc import NodulePolicy, Reading, find_reading, read_database, read_scan
from medseg.datasets.lidc.consensus import nodules_and_faults
from medseg.datasets.lidc.grid import annotation_grid
from medseg.geometry import apply_affine, spacing_of
from medseg.io.bounded.errors import DataError

__all__ = ["read_case"]


def read_case(args: argparse.Namespace, policy: NodulePolicy) -> LidcCase:
    """Read annotations and grid and build the nodules.

    Args:
        args: the command line of ``data_prep.lidc``.
        policy: how annotations are grouped, filled and joined.

    Raises:
        RuntimeError: if no database is installed.
        DataError: if the database does not hold the series, its slices are uneven, or no nodule can be used, such as
            one that an XML file outlines on a slice that the database does not list.
    """
    scan, stored = read_scan(args.series), read_database(args.series)
    grid = annotation_grid(scan, stored.slice_z_mm)
    reading, notes = _read_annotations(args, stored)
    columns, rows, slices = grid.shape
    z = apply_affine(grid.affine_ras, np.array([[0, 0, k] for k in range(slices)]))[:, 2]
    dx, dy, _ = (float(value) for value in spacing_of(grid.affine_ras))
    built, faults = nodules_and_faults(reading, z, (dx, dy), (columns, rows), policy, scan.slice_thickness_mm)
    where, cut = f"series {args.series}", "its outlines lie on slices that the database does not list (z {} mm)"
    if count_annotations(built, faults) < len(reading.annotations):
        raise DataError(f"{where}: outlines lie on slices that the database does not list")
    verdict = judge_nodules(where, built, faults, reading, choice_from(args), cut)
    notes.append("no CT: x and y are measured from the first pixel, whose place in the patient is unknown")
    warnings = [*notes, *reading.warnings, *nodule_warnings(verdict, reading)]
    return LidcCase(
        reading,
        tuple(verdict.nodules),
        grid.affine_ras,
        grid.shape,
        warnings,
        refused=tuple(verdict.refused),
        left_out=tuple(verdict.left_out),
    )


def _read_annotations(args: argparse.Namespace, stored: Reading) -> tuple[Reading, list[str]]:
    if args.annotations == "database" or args.xml is None:
        return stored, [DATABASE_NOTE]
    reading, _, skipped = find_reading(args.xml, args.series, allow_partial=True)
    return reading, skipped
