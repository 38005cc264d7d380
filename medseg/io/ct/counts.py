"""How many slices a series should have by its own headers: a slice that is missing at the end leaves no visible gap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.geometry.slice_repair import grid_step
from medseg.geometry.slice_stack import DUPLICATE_MM
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.ct.header import SliceHeader

__all__ = ["Lacking", "count_missing_inside", "find_lacking"]

_FEW = 3
_SHARE = 4


class Lacking(NamedTuple):
    """One statement of the headers that counts more slices than there are.

    Attributes:
        absent: how many are absent by it.
        text: the finding with both numbers and the tag, ready for a warning.
    """

    absent: int
    text: str


def find_lacking(headers: Sequence[SliceHeader]) -> tuple[Lacking, ...]:
    """Compare the slices of one SeriesInstanceUID with what their headers count.

    Looked at are NumberOfSeriesRelatedInstances, ImagesInAcquisition, InConcatenationTotalNumber, and the numbers of
    the slices (InstanceNumber, of frames InStackPositionNumber): those absent from 1 to the highest. Numbers count only
    if few are absent (at most 3, or a quarter of those present): a slab cut out of a longer series begins anywhere.

    Args:
        headers: all slices of the UID, of whatever grid, localizers too.
    """
    found = [_series_total(headers), _acquisitions(headers), _concatenation(headers), _numbers(headers)]
    return tuple(lacking for lacking in found if lacking is not None)


def count_missing_inside(along_mm: NDArray[np.float64]) -> int:
    """Number of slices that the gaps of a sorted stack can hold, in steps of its common spacing.

    Args:
        along_mm: positions along the normal, ascending; equal ones count once.
    """
    along = np.asarray(along_mm, np.float64)
    single = along[np.concatenate([[True], np.diff(along) >= DUPLICATE_MM])] if len(along) else along
    return grid_step(single)[0] + 1 - len(single) if len(single) > 1 else 0


def _series_total(headers: Sequence[SliceHeader]) -> Lacking | None:
    declared = max((_whole(header, "NumberOfSeriesRelatedInstances") for header in headers), default=0)
    return _compared(_instances(headers), declared, "instance(s) of the series", "NumberOfSeriesRelatedInstances")


def _acquisitions(headers: Sequence[SliceHeader]) -> Lacking | None:
    """By acquisition where the number fits at least one of them; else, as some scanners mean it, for the series."""
    parts: dict[str, list[SliceHeader]] = {}
    for header in headers:
        parts.setdefault(header.text("AcquisitionNumber"), []).append(header)
    declared = {name: max(_whole(header, "ImagesInAcquisition") for header in part) for name, part in parts.items()}
    present = {name: _instances(part) for name, part in parts.items()}
    if any(present[name] == count for name, count in declared.items()):
        short = {name: count for name, count in declared.items() if count > present[name]}
        have, wanted = sum(present[name] for name in short), sum(short.values())
        return _compared(have, wanted, "image(s) of their acquisition", "ImagesInAcquisition")
    wanted = max(declared.values(), default=0)
    return _compared(sum(present.values()), wanted, "image(s) of the acquisition", "ImagesInAcquisition")


def _concatenation(headers: Sequence[SliceHeader]) -> Lacking | None:
    declared: dict[str, int] = {}
    present: dict[str, set[int]] = {}
    for header in headers:
        uid, total = header.text("ConcatenationUID"), _whole(header, "InConcatenationTotalNumber")
        if uid and total:
            declared[uid] = max(total, declared.get(uid, 0))
            present.setdefault(uid, set()).add(_whole(header, "InConcatenationNumber"))
    have = sum(map(len, present.values()))
    return _compared(have, sum(declared.values()), "file(s) of the concatenation", "InConcatenationTotalNumber")


def _numbers(headers: Sequence[SliceHeader]) -> Lacking | None:
    tag = "InStackPositionNumber" if any(header.frame for header in headers) else "InstanceNumber"
    present = {_whole(header, tag, -1) for header in headers}
    if not present or min(present) < 0:
        return None
    absent = sorted(set(range(min(1, min(present)), max(present) + 1)) - present) if _is_dense(present) else []
    if not absent:
        return None
    return Lacking(
        len(absent),
        f"{len(absent)} slice(s) may be missing: {tag} goes up to {max(present)} without {_ranges(absent)}",
    )


def _is_dense(numbers: set[int]) -> bool:
    absent = max(numbers) - min(1, min(numbers)) + 1 - len(numbers)
    return absent <= max(_FEW, len(numbers) // _SHARE)


def _compared(present: int, declared: int, what: str, tag: str) -> Lacking | None:
    if declared <= present:
        return None
    lost = declared - present
    return Lacking(lost, f"{lost} of {declared} {what} are absent: {tag} is {declared}, {present} are here")


def _instances(headers: Iterable[SliceHeader]) -> int:
    """Number of files, copies of one instance counted once."""
    return len({header.sop_uid or str(header.path) for header in headers})


def _whole(header: SliceHeader, tag: str, absent: int = 0) -> int:
    """A whole number, or ``absent``, also if it is not one: a check that only warns must not stop a command."""
    try:
        return header.integer(tag, absent)
    except DataError:
        return absent


def _ranges(numbers: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return shorten((str(a) if a == b else f"{a} to {b}" for a, b in runs), 6)
