"""Judge a DICOM series before its pixels are read: its grid, and whether it is a CT volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import orientation_codes
from medseg.geometry.slice_stack import distinct_steps, find_problems, stack_affine_ras
from medseg.io.bounded.errors import DataError
from medseg.io.ct.duplicates import differing_text
from medseg.io.ct.facts import header_notes
from medseg.io.ct.groups import SeriesEntry
from medseg.io.ct.pixels import check_pixel_format, cut_off, decoder_name
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.repair import plan_parts
from medseg.io.ct.stack import SliceStack, sort_stack

__all__ = ["SeriesVerdict", "judge_series"]

_OPTIONS = {"tilt": "--on-tilt shear", "duplicate": "--on-duplicate keep-lowest"}
_EVEN = frozenset({"missing", "variable"})


@dataclass(frozen=True)
class SeriesVerdict:
    """The judgement of one series or grid; it contains no free-text tag and no path.

    Attributes:
        status: "ok", "repairable" (refused unless the options in ``fix`` are given), "refused", or "no volume"
            (localizer, secondary capture, other modality, no image).
        findings: what is wrong, or what kind of object it is; one short line each, in millimetres where lengths apply.
        fix: command-line options with which it can be read, or "".
        spacing_mm: pixel spacing along rows and columns, then the distinct distances of slices; empty if unknown.
        range_mm: lowest and highest position along the normal; empty if unknown.
        axes: letters of the axes (column, row, slice), e.g. "LPS"; "" if unknown.
        off_axis_deg: angle between the slice normal and the nearest body axis.
    """

    status: str
    findings: tuple[str, ...] = ()
    fix: str = ""
    spacing_mm: tuple[float, ...] = ()
    range_mm: tuple[float, ...] = ()
    axes: str = ""
    off_axis_deg: float = 0.0


def judge_series(entry: SeriesEntry) -> SeriesVerdict:
    """Judge one entry of `medseg.io.ct.scan.list_series` by its headers; nothing is raised.

    Pixels are read only of slices that share a position, to tell copies from different images.
    """
    stack, fault = _stack_of(entry)
    grid = SeriesVerdict("refused") if stack is None else _describe_grid(stack)
    if entry.kind != "ct":
        words = "no image" if entry.kind == "object" else entry.kind
        return replace(grid, status="no volume", findings=(words,))
    faults = [fault] if stack is None else _slice_faults(entry)
    if stack is not None and len(stack.headers) < 2:
        faults.append("a single slice: spacing needs two or more positions")
    if stack is None or faults:
        return replace(grid, findings=tuple(faults))
    problems = find_problems(stack.positions, stack.normal)
    notes = header_notes(entry, stack)
    if not problems:
        return replace(grid, status="ok", findings=tuple(notes))
    kinds = [problem.kind for problem in problems]
    fix, reason = "", _different_images(stack, entry) if "duplicate" in kinds else ""
    if not reason:
        fix, reason = _working_options(stack, kinds)
    findings = [*(problem.text for problem in problems), *filter(None, [reason]), *notes]
    return replace(grid, status="repairable" if fix else "refused", findings=tuple(findings), fix=fix)


def _different_images(stack: SliceStack, entry: SeriesEntry) -> str:
    """Why slices at one position are not copies, or why this cannot be checked; "" if they are copies."""
    try:
        return differing_text(stack.headers, stack.positions @ stack.normal)
    except DataError as error:
        return _without_path(error, entry)


def _stack_of(entry: SeriesEntry) -> tuple[SliceStack | None, str]:
    try:
        return sort_stack(entry), ""
    except ValueError as error:
        return None, _without_path(error, entry)


def _slice_faults(entry: SeriesEntry) -> list[str]:
    """Faults of single slices, each once with the number of slices that have it."""
    counts: dict[str, int] = {}
    for header in entry.headers:
        try:
            check_pixel_format(header)
            decoder_name(header.transfer_syntax, header.path)
            fault = cut_off(header)
        except DataError as error:
            fault = _without_path(error, entry)
        if fault:
            counts[fault] = counts.get(fault, 0) + 1
    return [f"{count} of {len(entry.headers)} slices: {fault}" for fault, count in counts.items()]


def _without_path(error: ValueError, entry: SeriesEntry) -> str:
    text = str(error)
    for path in {header.path for header in entry.headers}:
        text = text.replace(f"{path}: ", "")
    return text


def _describe_grid(stack: SliceStack) -> SeriesVerdict:
    along = stack.positions @ stack.normal
    rows, columns = stack.pixel_spacing
    steps = [step for step in distinct_steps(along) if step > 0]
    nearest = float(np.clip(np.abs(stack.normal).max(), 0, 1))
    return SeriesVerdict(
        "refused",
        spacing_mm=(columns, rows, *steps),
        range_mm=(round(float(along[0]), 3), round(float(along[-1]), 3)),
        axes="".join(orientation_codes(_upright_affine(stack))),
        off_axis_deg=round(float(np.degrees(np.arccos(nearest))), 2),
    )


def _upright_affine(stack: SliceStack) -> NDArray[np.float64]:
    first = stack.positions[0]
    return stack_affine_ras([first, first + stack.normal], stack.orientation, stack.pixel_spacing)


def _working_options(stack: SliceStack, kinds: Sequence[str]) -> tuple[str, str]:
    """The options with which a stack can be read, found by trying them; otherwise the reason why none helps."""
    tilt = "shear" if "tilt" in kinds else "refuse"
    duplicate = "keep-lowest" if "duplicate" in kinds else "refuse"
    reason = ""
    for gap in ("resample", "split") if _EVEN & set(kinds) else ("refuse",):
        try:
            trial = SliceStack(list(stack.headers), stack.orientation, stack.pixel_spacing)
            plan_parts("", trial, GeometryPolicy(tilt, gap, duplicate))
        except DataError as error:
            reason = reason or str(error).removeprefix(": ").rsplit("; ", 1)[-1]
            continue
        options = [_OPTIONS[kind] for kind in ("tilt", "duplicate") if kind in kinds]
        return " ".join([*options, *([f"--on-gap {gap}"] if gap != "refuse" else [])]), ""
    return "", reason
