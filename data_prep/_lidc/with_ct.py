"""A LIDC-IDRI case with its CT: the series, the reading of it, and the nodules on its grid."""

from __future__ import annotations

import argparse

from data_prep._lidc.checks import describe_gaps, judge_nodules, missing_slices, nodule_warnings
from data_prep._lidc.output import LidcCase
from data_prep._lidc.repaired import nodules_of_series
from data_prep._options.assumptions import rescale_from
from data_prep._options.item_choice import choice_from
from data_prep._options.repair_policy import policy_from
from medseg.datasets.lidc import NodulePolicy, Reading, find_reading, read_database
from medseg.io.bounded.errors import DataError
from medseg.io.ct.series import read_series

__all__ = ["DATABASE_NOTE", "read_case"]

DATABASE_NOTE = "the database does not tell readers apart: a reader number holds within one nodule only"


def read_case(args: argparse.Namespace, policy: NodulePolicy) -> LidcCase:
    """Read the CT and its annotations and build the nodules.

    Args:
        args: the command line of ``data_prep.lidc``.
        policy: how annotations are grouped, filled and joined.

    Raises:
        DataError: if the CT is damaged or incomplete without leave, or no nodule can be used.
    """
    series = read_series(
        args.dicom,
        args.series,
        allow_partial=True,
        policy=policy_from(args),
        allow_burned_in=args.allow_burned_in,
        assume_rescale=rescale_from(args),
    )
    reading, notes = _read_annotations(args, series.series_uid)
    missing, expected = missing_slices(series, reading)
    gaps = describe_gaps(series, missing, expected)
    if gaps and not args.allow_partial:
        raise DataError(f"{args.dicom}: the CT series is incomplete: {gaps}; fetch the files or add --allow-partial")
    if not expected:
        notes.append(
            "no full slice list for this series is at hand; slices missing at either end go unnoticed unless the "
            "headers or the marks count them"
        )
    built, faults = nodules_of_series(reading, series, policy)
    verdict = judge_nodules(args.dicom, built, faults, reading, choice_from(args))
    warnings = [*([f"partial CT: {gaps}"] if gaps else []), *series.warnings, *notes, *reading.warnings]
    warnings += nodule_warnings(verdict, reading)
    i, j, k = series.array.shape
    return LidcCase(
        reading,
        tuple(verdict.nodules),
        series.affine_ras,
        (i, j, k),
        warnings,
        series,
        tuple(missing),
        tuple(verdict.refused),
        tuple(verdict.left_out),
    )


def _read_annotations(args: argparse.Namespace, series_uid: str) -> tuple[Reading, list[str]]:
    if args.annotations == "database":
        return read_database(series_uid), [DATABASE_NOTE]
    reading, _, skipped = find_reading(args.xml or args.dicom, series_uid, allow_partial=True)
    return reading, skipped
