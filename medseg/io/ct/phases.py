"""Slices at equal positions told apart by the tags of time, phase, acquisition and reconstruction.

A series can show one place several times: phases of a heart beat, passes of a contrast study, two kernels. These slices
are no copies of each other. The tags of ``PHASE_TAGS`` are tried in their order; the first that parts the slices into
complete sets decides. Never are slices of one value, or of one unbroken run of values, put into different sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.geometry.slice_stack import DUPLICATE_MM, slice_normal
from medseg.io.ct.header import SliceHeader
from medseg.io.privacy.names import is_kernel_name

__all__ = ["PHASE_TAGS", "SliceSet", "compared_tags", "split_by_phase"]

_DISCRETE = (
    "TemporalPositionIndex",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "NominalRespiratoryTriggerDelayTime",
    "AcquisitionNumber",
    "ImageType",
    "ConvolutionKernel",
    "KVP",
    "SliceThickness",
)
_CLOCKS = ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime", "ContentTime")
_RUNS = (*_DISCRETE[:8], "FrameReferenceTime", *_CLOCKS)
_CLEAR_GAP = 2.0

PHASE_TAGS = (*_DISCRETE, "FrameReferenceTime", *_CLOCKS)
"""What is compared, in this order: each tag value by value, numbers and times also as unbroken runs; then two tags."""

_IMAGE_WORDS = frozenset(
    (
        *("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "AXIAL", "VOLUME", "REFORMATTED", "MPR", "AVERAGE", "MIP"),
        *("MINIP", "ADD", "SUBTRACTION", "NONE"),
    )
)


class SliceSet(NamedTuple):
    """Slices of one volume among several at the same positions.

    Attributes:
        headers: the slices, in their order.
        told_by: the tag and its value, such as ``"TriggerTime 400"``; "" where all slices are one set. Times of day are
            given from the first on, and texts that could name somebody are not shown.
    """

    headers: list[SliceHeader]
    told_by: str = ""


class _Places(NamedTuple):
    """Where slices lie: the number of its position for each slice, and which slices are copies of an earlier one."""

    level: NDArray[np.int64]
    copy: NDArray[np.bool_]

    def of(self, part: Sequence[int]) -> list[int]:
        """Position numbers of a part's slices, copies of one instance counted once."""
        return [int(self.level[i]) for i in part if not self.copy[i]]


def split_by_phase(headers: Sequence[SliceHeader]) -> list[SliceSet]:
    """Part slices of one grid into sets in which no position occurs twice, if a tag of ``PHASE_TAGS`` explains that.

    A set is complete if it holds at least half of all positions. By one value of a discrete tag, smaller sets beside a
    large one are accepted too (a second pass over part of the body), unless fewer than half of their positions repeat:
    passes that only meet at their ends are one volume. Files of the same SOPInstanceUID are copies and stay together.

    Args:
        headers: slices of one size, orientation and pixel spacing.

    Returns:
        The sets in order of first appearance; one set without a text where nothing repeats or nothing explains it.
    """
    places = _places(headers)
    if places is None or _most_at_one_place(places, range(len(headers))) < 2:
        return [SliceSet(list(headers))]
    for parts, texts in _candidates(headers, places):
        named = sorted(zip(parts, texts, strict=True), key=lambda pair: pair[0][0])
        return [SliceSet([headers[i] for i in part], text) for part, text in named]
    return [SliceSet(list(headers))]


def compared_tags(headers: Sequence[SliceHeader]) -> str:
    """The tags that were compared for slices at equal positions, for an error: how many values each has, or absent."""
    present, absent = [], []
    for tag in PHASE_TAGS:
        values = {value for header in headers if (value := _value(header, tag)) is not None}
        if values:
            present.append(f"{tag} ({len(values)} value{'s' * (len(values) > 1)})")
        else:
            absent.append(tag)
    return "; ".join(filter(None, [", ".join(present), f"absent: {', '.join(absent)}" if absent else ""]))


def _candidates(headers: Sequence[SliceHeader], places: _Places) -> Sequence[tuple[list[list[int]], list[str]]]:
    """The first explanation found, in a list of one, or an empty list."""
    discrete = {tag: values for tag in PHASE_TAGS if (values := _values(headers, tag)) is not None}
    for tag, values in discrete.items():
        parts = _by_value(values)
        if _is_complete(parts, places) or (tag in _DISCRETE and _is_second_pass(parts, places)):
            return [(parts, [_text(tag, values, part) for part in parts])]
        runs = _by_runs(values, places) if tag in _RUNS else []
        if _is_complete(runs, places):
            return [(runs, [_text(tag, values, part) for part in runs])]
    for pair in combinations([tag for tag in discrete if tag in _DISCRETE], 2):
        together = list(zip(*(discrete[tag] for tag in pair), strict=True))
        parts = _by_value(together)
        if _is_complete(parts, places):
            return [(parts, [", ".join(_text(tag, discrete[tag], part) for tag in pair) for part in parts])]
    return []


def _places(headers: Sequence[SliceHeader]) -> _Places | None:
    """None where positions are unknown: the reader of the series reports what is wrong."""
    try:
        normal = slice_normal(headers[0].numbers("ImageOrientationPatient", 6))
        along = np.array([header.numbers("ImagePositionPatient", 3) for header in headers]) @ normal
    except ValueError:
        return None
    order = np.argsort(along, kind="stable")
    level = np.empty(len(along), np.int64)
    level[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) >= DUPLICATE_MM)])
    seen: set[tuple[str, int]] = set()
    copy = np.zeros(len(along), bool)
    for index, header in enumerate(headers):
        key = (header.sop_uid, header.frame)
        copy[index] = bool(header.sop_uid) and key in seen
        seen.add(key)
    return _Places(level, copy)


def _most_at_one_place(places: _Places, part: Sequence[int]) -> int:
    return int(np.bincount(places.of(part)).max(initial=0))


def _by_value(values: Sequence[object]) -> list[list[int]]:
    parts: dict[object, list[int]] = {}
    for index, value in enumerate(values):
        parts.setdefault(value, []).append(index)
    return list(parts.values())


def _by_runs(values: Sequence[object], places: _Places) -> list[list[int]]:
    """Slices in the order of a number, cut into as many sets as one position has slices.

    Cut where the number jumps, if these jumps are clear; otherwise where a position comes again, provided that every
    position has the same number of slices: then no slice can have fallen into a neighbouring set.
    """
    if not all(isinstance(value, float) for value in values):
        return []
    numbers = np.array(values, dtype=np.float64)
    order = np.argsort(numbers, kind="stable")
    wanted = _most_at_one_place(places, range(len(values)))
    jumps = np.diff(numbers[order])
    cuts = np.sort(np.argsort(-jumps, kind="stable")[: wanted - 1]) + 1
    others = np.delete(jumps, cuts - 1)
    if len(cuts) == wanted - 1 and jumps[cuts - 1].min(initial=np.inf) >= _CLEAR_GAP * max(others.max(initial=0), 1e-9):
        return [part.tolist() for part in np.split(order, cuts)]
    counts = np.bincount(places.of(range(len(values))))
    if places.copy.any() or np.any(counts != wanted):
        return []
    blocks = order.reshape(wanted, -1)
    ends = [(numbers[a[-1]], numbers[b[0]]) for a, b in pairwise(blocks)]
    return [block.tolist() for block in blocks] if all(low < high for low, high in ends) else []


def _is_complete(parts: Sequence[Sequence[int]], places: _Places) -> bool:
    """Whether there are several sets, no position twice in any, and in each at least half of all positions.

    At least half of the positions of each set occur in another one too.
    """
    if len(parts) < 2 or any(_most_at_one_place(places, part) != 1 for part in parts):
        return False
    positions = len(np.unique(places.level))
    return all(2 * held >= positions and 2 * shared >= held for held, shared in _held(parts, places))


def _is_second_pass(parts: Sequence[Sequence[int]], places: _Places) -> bool:
    """Whether every set but the largest repeats positions of the others with at least half of its slices."""
    most = _most_at_one_place(places, range(len(places.level)))
    if not 1 < len(parts) <= most + 1 or any(_most_at_one_place(places, part) != 1 for part in parts):
        return False
    return all(2 * shared >= held for held, shared in sorted(_held(parts, places))[:-1])


def _held(parts: Sequence[Sequence[int]], places: _Places) -> list[tuple[int, int]]:
    """For each set: how many positions it holds, and how many of them occur in another set too."""
    sets = [set(places.of(part)) for part in parts]
    counts = np.bincount([place for own in sets for place in own])
    return [(len(own), sum(counts[place] > 1 for place in own)) for own in sets]


def _values(headers: Sequence[SliceHeader], tag: str) -> list[float | str] | None:
    """The value of every slice, if all have one and they are not all the same."""
    values = [_value(header, tag) for header in headers]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) and len(set(known)) > 1 else None


def _value(header: SliceHeader, tag: str) -> float | str | None:
    """A number (times in seconds), a text, or None where the tag is absent or damaged."""
    text = header.text(tag).strip()
    if not text:
        return None
    if tag in _CLOCKS:
        return _seconds(text)
    try:
        return float(text)
    except ValueError:
        return text


def _seconds(text: str) -> float | None:
    """A DICOM time (HHMMSS.FFFFFF) or date with time (YYYYMMDDHHMMSS.FFFFFF) in seconds; time zones are ignored."""
    from datetime import date

    whole, _, fraction = text.partition("+")[0].partition("-")[0].replace(":", "").partition(".")
    if not whole.isdecimal() or len(whole) not in (4, 6, 12, 14) or not (fraction or "0").isdecimal():
        return None
    day, clock = (whole[:8], whole[8:]) if len(whole) >= 12 else ("", whole)
    try:
        days = date(int(day[:4]), int(day[4:6]), int(day[6:])).toordinal() if day else 0
    except ValueError:
        return None
    hours, minutes, seconds = int(clock[:2]), int(clock[2:4]), int(clock[4:6] or 0)
    return days * 86400.0 + hours * 3600 + minutes * 60 + seconds + float(f"0.{fraction or 0}")


def _text(tag: str, values: Sequence[float | str], part: Sequence[int]) -> str:
    """A tag with the value or the range of one set."""
    own = [values[i] for i in part]
    numbers = [value for value in own if isinstance(value, float)]
    if len(numbers) == len(own):
        first = min(value for value in values if isinstance(value, float)) if tag in _CLOCKS else 0.0
        ends = list(dict.fromkeys(f"{end - first:.10g}" for end in (min(numbers), max(numbers))))
        return f"{tag} {'+' if tag in _CLOCKS else ''}{' to '.join(ends)}{' s' if tag in _CLOCKS else ''}"
    known = sorted(set(map(str, values)))
    return f"{tag} {_shown_text(tag, str(own[0]))} (value {known.index(str(own[0])) + 1} of {len(known)})"


def _shown_text(tag: str, value: str) -> str:
    """Terms of the standard and names of kernels; other text is not shown."""
    parts = value.split("\\")
    is_plain = (lambda part: part.upper() in _IMAGE_WORDS) if tag == "ImageType" else is_kernel_name
    return "\\".join(part if is_plain(part) else "(hidden)" for part in parts)
