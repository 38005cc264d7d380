"""Facts and warnings that are recorded with the voxels of a CT series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.bounded.errors import DataError, shorten
from medseg.io.ct.counts import count_missing_inside
from medseg.io.ct.header import SliceHeader
from medseg.io.ct.pixels import AIR_HU, PADDING_RULE, decoder_name, is_burned_in, syntax_uid
from medseg.io.ct.scan import SeriesEntry, SeriesListing
from medseg.io.ct.stack import SliceStack
from medseg.io.ct.statements import header_contradictions
from medseg.io.privacy.names import shown_term

__all__ = ["header_notes", "pixel_notes", "series_facts", "series_warnings"]


def header_notes(entry: SeriesEntry, stack: SliceStack) -> list[str]:
    """Contradictions within the headers of a CT volume, or between headers and slices, one line each.

    Args:
        entry: the series.
        stack: its slices, sorted.
    """
    inside = count_missing_inside(stack.positions @ stack.normal) if stack.headers else 0
    notes = [f"one of several sets at these positions: {entry.told_by}"] if entry.told_by else []
    notes += [lacking.text for lacking in entry.lacking if lacking.absent > inside]
    return notes + (header_contradictions(stack.headers, stack.positions, stack.normal) if stack.headers else [])


def pixel_notes(volume: NDArray[np.int16], findings: NDArray[np.float64]) -> list[str]:
    """What was found in the values of a volume, one line each.

    Args:
        volume: int16 Hounsfield units.
        findings: for each slice: padding voxels raised, padding voxels kept, largest rounding in HU; shape ``(n, 3)``.
    """
    raised, kept_padding = (int(value) for value in findings[:, :2].sum(axis=0))
    rounding = float(findings[:, 2].max(initial=0.0))
    notes = []
    if raised:
        notes.append(f"{raised} padding voxels raised to {AIR_HU} HU")
    if kept_padding:
        notes.append(f"{kept_padding} voxels hold PixelPaddingValue but lie above {AIR_HU} HU; they were left alone")
    below = int((volume < AIR_HU).sum())
    if below:
        notes.append(f"{below} voxels lie below {AIR_HU} HU (down to {int(volume.min())}) and were kept")
    if rounding > 0:
        notes.append(f"Hounsfield values were rounded to whole numbers (by at most {rounding:.3g})")
    return notes


def series_warnings(
    listing: SeriesListing,
    entry: SeriesEntry,
    headers: Sequence[SliceHeader],
    left_out: Sequence[tuple[Path, str]],
    repairs: Sequence[dict[str, Any]],
) -> list[str]:
    """Unusual findings about a series, its folder or its headers, and the repairs; one line each."""
    notes = [f"repaired ({item['rule']}): {_describe_repair(item)}" for item in repairs]
    notes += [f"left out {path.name}: {_reason_only(path, reason)}" for path, reason in left_out]
    others = [other for other in listing.series if other.name != entry.name]
    if others:
        notes.append(f"{len(others)} other image series in the folder were not read: {shorten(map(str, others), 3)}")
    if listing.other_objects:
        notes.append(f"{listing.other_objects} DICOM file(s) that are not images were not read")
    kind = headers[0].text("RescaleType") or "HU"
    if kind.upper() != "HU":
        notes.append(f"RescaleType is {shown_term(kind)}, not HU; values were rescaled anyway")
    lossy = sum(header.text("LossyImageCompression") == "01" for header in headers)
    if lossy:
        notes.append(f"{lossy} of {len(headers)} slices were compressed with loss: values are approximate")
    drawn = sum(map(is_burned_in, headers))
    if drawn or entry.kind == "secondary capture":
        which = f"{drawn} of {len(headers)} slices say" if drawn else "a secondary capture does not say"
        notes.append(f"{which} that text is drawn in the pixels (BurnedInAnnotation); names may be legible")
    if headers[0].text("BodyPartExamined").upper() == "HEAD":
        notes.append("head CT: the volume shows a face; deface it before sharing")
    long = list(dict.fromkeys(header.path.name for header in headers if header.long_numbers))
    if long:
        notes.append(
            f"{len(long)} file(s) write a position or spacing with more than 16 characters: {shorten(long, 3)}"
        )
    return notes


def _describe_repair(item: dict[str, Any]) -> str:
    where = item["mm"] if isinstance(item["mm"], list) else [item["mm"]]
    places = ", ".join(f"{value:g}" for value in where[:6]) + (" ..." if len(where) > 6 else "") + " mm"
    details = {
        "shear": "{count} slices, by up to {places}",
        "resample": "{count} of {slices_after} slices blended, widest step {places}",
        "keep-lowest": "{count} slices at {places}, each with the pixels of the one kept",
        "split": "this is part {part} of {count}, {slices} slices from and to {places}",
    }
    return f"{item['what']} ({details[item['rule']].format(**item, places=places)})"


def _reason_only(path: Path, reason: str) -> str:
    return reason[len(str(path)) + 2 :] if reason.startswith(f"{path}: ") else reason


def series_facts(entry: SeriesEntry, headers: Sequence[SliceHeader]) -> dict[str, Any]:
    """Header values that are recorded with a volume."""
    first = headers[0]
    syntaxes = sorted({header.transfer_syntax for header in headers})
    kernel = first.get("ConvolutionKernel", "")
    rescale = {(h.numbers("RescaleSlope", 1)[0], h.numbers("RescaleIntercept", 1)[0]) for h in headers}
    return {
        "modality": entry.modality,
        "kernel": [kernel] if isinstance(kernel, str) else [str(part) for part in kernel],
        "kvp": _optional(first, "KVP"),
        "slice_thickness_mm": _optional(first, "SliceThickness"),
        "gantry_tilt_degrees_recorded": _optional(first, "GantryDetectorTilt"),
        "transfer_syntax": [{"uid": uid, "name": syntax_uid(uid).name} for uid in syntaxes],
        "decoder": sorted({decoder_name(uid) for uid in syntaxes}),
        "rescale": [{"slope": slope, "intercept": intercept} for slope, intercept in sorted(rescale)],
        "assumed_rescale": None,
        "padding_rule": PADDING_RULE,
    }


def _optional(header: SliceHeader, keyword: str) -> float | None:
    try:
        return None if header.get(keyword) is None else header.numbers(keyword, 1)[0]
    except DataError:
        return None
