"""The grid of a LiTS image. Placeholders are refused, or replaced by the table of known faults; nothing is guessed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medseg.datasets.lits.issues import KnownIssue, known_issues, table_version
from medseg.geometry import Affine, orientation_codes, spacing_of
from medseg.io.bounded.errors import DataError

__all__ = ["LIVER_LITRES", "GridRepair", "change_record", "check_repaired_liver", "repair_grid"]

LIVER_LITRES = (0.7, 3.5)
"""Range of an adult's liver volume with tumours; a repaired spacing that gives another volume is refused."""

_ROUNDING = 1e-6
_SAME_SPACING = 0.01  # relative: the table gives in-plane spacings to two digits


class GridRepair(NamedTuple):
    """The grid that is used for an image, and the reasons.

    Attributes:
        affine_ras: 4 x 4, voxel to RAS mm.
        changes: one record for every rule applied, ready for JSON; empty if the header was kept.
        warnings: what remains doubtful, one line each.

    >>> GridRepair(np.eye(4)).changes
    ()
    """

    affine_ras: Affine
    changes: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


def repair_grid(case: str, affine_ras: ArrayLike, slices: int, accept_unverified: bool = False) -> GridRepair:
    """Find the grid of a LiTS image.

    A header of 1 x 1 x 1 mm along R, A, S is a placeholder. It is replaced by the table's spacing and first axis only
    if the table has a row for the case, the number of slices is the row's, and unverified rows are accepted.

    Args:
        case: image name without suffix, e.g. ``volume-28``.
        affine_ras: the header's 4 x 4, voxel to RAS mm.
        slices: length of the third array axis.
        accept_unverified: whether table rows whose values were not checked against a source file may be applied.

    Raises:
        DataError: for a placeholder without a row, with another number of slices, or whose row is not accepted.

    >>> repaired = repair_grid("volume-28", np.eye(4), slices=129, accept_unverified=True)
    >>> np.abs(np.diag(repaired.affine_ras))[:3].tolist(), repaired.changes[0]["rule"]
    ([0.57, 0.57, 1.6], 'set_spacing')
    """
    affine = np.asarray(affine_ras, np.float64)
    issue = known_issues(case).get("identity_geometry")
    placeholder = bool(np.abs(affine[:3, :3] - np.eye(3)).max() <= _ROUNDING)
    if issue is None:
        if placeholder and not affine[:3, 3].any():
            raise DataError(
                f"{case}: the header is the identity (1 x 1 x 1 mm, origin 0), which is a placeholder, and table "
                f"version {table_version()} has no spacing for this case; correct the header from the file's source"
            )
        return GridRepair(affine)
    if not placeholder:
        return GridRepair(affine, warnings=_doubts(issue, affine))
    if slices != issue.found["slices"]:
        raise DataError(
            f"{case}: the header is the identity placeholder, but the image has {slices} slices, expected "
            f"{issue.found['slices']} by table version {table_version()}; this is not the file the table describes"
        )
    spacing = issue.expected["spacing_mm"]
    if not (issue.verified or accept_unverified):
        raise DataError(
            f"{case}: the header is a placeholder (1 x 1 x 1 mm), expected {_times(spacing)} mm by table version "
            f"{table_version()}, which is not verified ({issue.source}); add --accept-unverified to apply it, or "
            "correct the header"
        )
    return _replace_placeholder(case, affine, issue)


def check_repaired_liver(case: str, litres: float) -> None:
    """Refuse a repaired spacing that gives the liver an impossible size.

    Raises:
        DataError: if the volume is not within :data:`LIVER_LITRES`.
    """
    low, high = LIVER_LITRES
    if not low <= litres <= high:
        raise DataError(
            f"{case}: with the table's spacing the liver measures {litres:.2f} litres, expected {low} to {high}; the "
            "spacing is not this file's, correct the header from its source"
        )


def change_record(issue: KnownIssue, found: Any, applied: Any) -> dict[str, Any]:
    """The record of a table row that was applied, which is stored with the output."""
    return {
        "issue": issue.kind,
        "rule": issue.rule,
        "found": found,
        "applied": applied,
        "verified": issue.verified,
        "source": issue.source,
        "table_version": table_version(),
    }


def _replace_placeholder(case: str, affine: Affine, issue: KnownIssue) -> GridRepair:
    spacing = issue.expected["spacing_mm"]
    repaired = affine.copy()
    repaired[:3, :3] = np.diag(spacing)
    changes = [change_record(issue, {"spacing_mm": [1.0, 1.0, 1.0]}, {"spacing_mm": list(spacing)})]
    mirrored = known_issues(case).get("mirrored")
    if mirrored is not None:
        repaired[0, 0] *= -1.0
        changes.append(change_record(mirrored, dict(mirrored.found), dict(mirrored.expected)))
    doubt = f"{case}: {_times(spacing)} mm"
    if mirrored is not None:
        doubt += f" and a first axis running to {mirrored.expected['first_axis']}"
    doubt += " come from rows of the table that are not verified"
    return GridRepair(repaired, tuple(changes), (doubt,))


def _doubts(issue: KnownIssue, affine: Affine) -> tuple[str, ...]:
    found, expected = spacing_of(affine), np.asarray(issue.expected["spacing_mm"])
    if np.all(np.abs(found - expected) <= _SAME_SPACING * expected):
        return ()
    return (
        f"{issue.case}: the header says {_times(found)} mm ({''.join(orientation_codes(affine))}), table version "
        f"{table_version()} expects {_times(expected)} mm; the header is kept",
    )


def _times(spacing_mm: ArrayLike) -> str:
    return " x ".join(f"{value:.4g}" for value in np.asarray(spacing_mm, np.float64))
