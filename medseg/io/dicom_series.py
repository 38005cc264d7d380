"""A CT series of DICOM files as one volume in Hounsfield units with its exact geometry, or one clear refusal."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Affine
from medseg.geometry.slice_stack import (
    find_problem,
    longest_regular_run,
    slice_normal,
    stack_affine_ras,
    stack_order,
)
from medseg.io.dicom_pixels import AIR_HU, PADDING_RULE, check_pixel_format, decode_slice, decoder_name
from medseg.io.dicom_scan import FolderListing, SeriesEntry, SliceHeader, choose_series, scan_folder
from medseg.io.errors import DataError, SeriesGeometryError, UnreadableFileError, shorten

__all__ = ["CtSeries", "read_series"]

_ORIENTATION_TOLERANCE = 1e-3
_PIXEL_SPACING_TOLERANCE_MM = 1e-4


@dataclass(frozen=True)
class CtSeries:
    """One CT series in memory.

    Attributes:
        array: int16 Hounsfield units ``[i = column, j = row, k = slice along the normal]``, i fastest in memory.
        affine_ras: 4 x 4, voxel to RAS mm.
        series_uid: SeriesInstanceUID.
        sop_instance_uids: SOPInstanceUID of every slice, by k.
        files: file of every slice, by k.
        positions_mm: position of every slice along the slice normal, by k (z in LPS for axial slices).
        facts: recorded header values: modality, kernel, kvp, slice_thickness_mm, transfer_syntax, rescale, decoder ...
        warnings: findings that did not prevent reading, one line each.
        left_out: files of the series that are not in the volume, with the reason (only with ``allow_partial``).
        ignored_files: number of files in the folder that are not DICOM.
    """

    array: NDArray[np.int16]
    affine_ras: Affine
    series_uid: str
    sop_instance_uids: tuple[str, ...]
    files: tuple[Path, ...]
    positions_mm: tuple[float, ...]
    facts: dict[str, Any]
    warnings: tuple[str, ...] = ()
    left_out: tuple[tuple[Path, str], ...] = ()
    ignored_files: int = 0


@dataclass
class _Stack:
    """Slices on their way to a volume: sorted headers, their positions, and what was left out with the reason."""

    headers: list[SliceHeader]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, ...]
    left_out: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def positions(self) -> NDArray[np.float64]:
        return np.array([header.numbers("ImagePositionPatient", 3) for header in self.headers])

    @property
    def normal(self) -> NDArray[np.float64]:
        return slice_normal(self.orientation)


def read_series(folder: str | Path, series_uid: str | None = None, *, allow_partial: bool = False) -> CtSeries:
    """Read one CT series from a folder (recursive; any file names; files that are not DICOM are counted and ignored).

    Slices are sorted by position along the row x column normal; spacing comes from positions, never from SliceThickness
    or SpacingBetweenSlices; slope and intercept are applied slice by slice; padding follows ``PADDING_RULE``.

    Args:
        folder: where the DICOM files are.
        series_uid: SeriesInstanceUID, needed only where the folder holds several CT series.
        allow_partial: leave out unreadable files and second slices at one position, and keep the longest stretch
            without a gap. Every file left out is named in ``left_out`` and ``warnings``. Tilt, variable spacing and
            mixed orientation are refused all the same.

    Raises:
        SeriesChoiceError: no CT series, or several and none chosen.
        SeriesGeometryError: missing or duplicate slices, variable spacing, gantry tilt, mixed orientation.
        UnreadableFileError: files that are cut off or cannot be decoded.
        DataError: other contents that make no CT volume.
    """
    listing = scan_folder(folder)
    entry = choose_series(listing, series_uid)
    if listing.unreadable and not allow_partial:
        raise UnreadableFileError(_name_unreadable(listing.unreadable))
    for header in entry.headers:
        check_pixel_format(header)
    stack = _sorted_stack(listing.folder, entry)
    stack.left_out.extend(listing.unreadable)
    if allow_partial:
        _drop_duplicates(stack)
    else:
        _refuse_irregular(listing.folder, stack)
    volume, notes = _decode(listing.folder, stack, allow_partial)
    positions = stack.positions
    return CtSeries(
        array=volume,
        affine_ras=stack_affine_ras(positions, stack.orientation, stack.pixel_spacing),
        series_uid=entry.uid,
        sop_instance_uids=tuple(header.sop_uid for header in stack.headers),
        files=tuple(header.path for header in stack.headers),
        positions_mm=tuple(float(value) for value in positions @ stack.normal),
        facts=_facts(entry, stack),
        warnings=tuple(_warnings(listing, stack) + notes),
        left_out=tuple(stack.left_out),
        ignored_files=listing.ignored,
    )


def _name_unreadable(files: tuple[tuple[Path, str], ...] | list[tuple[Path, str]]) -> str:
    others = shorten(path.name for path, _ in files[1:])
    more = f"; {len(files) - 1} more unreadable: {others}" if others else ""
    path, reason = files[0]
    return (f"{reason}" if str(path) in reason else f"{path}: {reason}") + more


def _sorted_stack(folder: Path, entry: SeriesEntry) -> _Stack:
    groups: list[tuple[tuple[float, ...], tuple[int, int], tuple[float, ...], list[SliceHeader]]] = []
    for header in entry.headers:
        orientation = header.numbers("ImageOrientationPatient", 6)
        size = (int(header.numbers("Rows", 1)[0]), int(header.numbers("Columns", 1)[0]))
        spacing = header.numbers("PixelSpacing", 2)
        for known_orientation, known_size, known_spacing, members in groups:
            if (
                size == known_size
                and np.allclose(orientation, known_orientation, rtol=0, atol=_ORIENTATION_TOLERANCE)
                and np.allclose(spacing, known_spacing, rtol=0, atol=_PIXEL_SPACING_TOLERANCE_MM)
            ):
                members.append(header)
                break
        else:
            groups.append((orientation, size, spacing, [header]))
    if len(groups) > 1:
        raise SeriesGeometryError(f"{folder}: series {entry.uid} mixes {len(groups)} grids: {_describe(groups)}")
    orientation, _, spacing, headers = groups[0]
    if min(spacing) <= 0:
        raise DataError(f"{headers[0].path}: PixelSpacing is {list(spacing)}, expected two positive numbers")
    try:
        normal = slice_normal(orientation)
    except ValueError as error:
        raise SeriesGeometryError(f"{headers[0].path}: {error}") from None
    headers.sort(key=lambda header: (int(header.get("InstanceNumber", 0)), header.path))
    positions = np.array([header.numbers("ImagePositionPatient", 3) for header in headers])
    return _Stack([headers[i] for i in stack_order(positions, normal)], orientation, spacing)


def _describe(groups: list[Any]) -> str:
    parts = [
        f"{len(members)} files like {members[0].path.name} ({size[1]} x {size[0]}, {spacing[0]:g} x {spacing[1]:g} mm, "
        f"orientation {' '.join(f'{value:g}' for value in orientation)})"
        for orientation, size, spacing, members in groups
    ]
    return shorten(parts, 4) + "; put each into a folder of its own"


def _refuse_irregular(folder: Path, stack: _Stack) -> None:
    if len(stack.headers) < 2:
        raise SeriesGeometryError(f"{folder}: only {len(stack.headers)} slice(s); spacing needs two or more positions")
    problem = find_problem(stack.positions, stack.normal)
    if problem is None:
        return
    names = shorten((stack.headers[i].path.name for i in problem.indices), 6)
    fix = {
        "duplicate": "remove the second copies",
        "tilt": "resample the series to an upright grid first",
        "missing": "fetch the missing files",
        "variable": "split the series or resample it first",
        "shifted": "check that the files belong to one acquisition",
    }[problem.kind]
    raise SeriesGeometryError(f"{folder}: {problem.text}" + (f" ({names})" if names else "") + f"; {fix}")


def _drop_duplicates(stack: _Stack) -> None:
    kept: list[SliceHeader] = []
    along = stack.positions @ stack.normal
    last = -np.inf
    for header, position in zip(stack.headers, along, strict=True):
        if position - last < 0.01:
            stack.left_out.append((header.path, f"second slice at {position:.3f} mm; {kept[-1].path.name} is kept"))
        else:
            kept.append(header)
            last = float(position)
    stack.headers = kept


def _decode(folder: Path, stack: _Stack, allow_partial: bool) -> tuple[NDArray[np.int16], list[str]]:
    volume = np.empty((0, 0, 0), dtype=np.int16)
    failures: list[tuple[Path, str]] = []
    keep: list[int] = []
    raised = kept_padding = 0
    rounding = 0.0
    for k, header in enumerate(stack.headers):
        try:
            decoded = decode_slice(header)
        except UnreadableFileError as error:
            failures.append((header.path, str(error)))
            continue
        if not keep:  # only now is it known that the declared size is real
            volume = np.empty((*decoded.hu.shape, len(stack.headers)), dtype=np.int16, order="F")
        volume[:, :, k] = decoded.hu
        keep.append(k)
        raised += decoded.padding_raised
        kept_padding += decoded.padding_kept
        rounding = max(rounding, decoded.rounding)
    if failures and not allow_partial:
        raise UnreadableFileError(_name_unreadable(failures))
    if allow_partial:
        volume = _keep_longest_run(folder, stack, volume, keep, failures)
    return volume, _pixel_notes(volume, raised, kept_padding, rounding)


def _keep_longest_run(
    folder: Path, stack: _Stack, volume: NDArray[np.int16], keep: list[int], failures: list[tuple[Path, str]]
) -> NDArray[np.int16]:
    stack.left_out.extend(failures)
    headers = [stack.headers[k] for k in keep]
    stack.headers = headers
    if headers:
        run, _ = longest_regular_run(stack.positions @ stack.normal)
        dropped = headers[: run.start] + headers[run.stop :]
        stack.left_out.extend((header.path, "beyond a gap in the series") for header in dropped)
        stack.headers, keep = headers[run], keep[run]
    _refuse_irregular(folder, stack)
    return volume if len(keep) == volume.shape[2] else np.asfortranarray(volume[:, :, keep])


def _pixel_notes(volume: NDArray[np.int16], raised: int, kept_padding: int, rounding: float) -> list[str]:
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


def _warnings(listing: FolderListing, stack: _Stack) -> list[str]:
    notes = [f"left out {path.name}: {_reason_only(path, reason)}" for path, reason in stack.left_out]
    others = [entry for entry in listing.series if entry.uid != stack.headers[0].series_uid]
    if others:
        notes.append(f"{len(others)} other image series in the folder were not read: {shorten(map(str, others), 3)}")
    if listing.other_objects:
        notes.append(f"{listing.other_objects} DICOM file(s) that are no images were not read")
    first = stack.headers[0]
    kind = str(first.get("RescaleType", "HU"))
    if kind.upper() != "HU":
        notes.append(f"RescaleType is {kind[:16]}, not HU; values were rescaled all the same")
    if str(first.get("BodyPartExamined", "")).upper() == "HEAD":
        notes.append("head CT: the volume shows a face; deface it before sharing")
    long = [h.path.name for h in stack.headers if _has_long_number(h)]
    if long:
        notes.append(
            f"{len(long)} file(s) write a position or spacing with more than 16 characters: {shorten(long, 3)}"
        )
    return notes


def _reason_only(path: Path, reason: str) -> str:
    return reason[len(str(path)) + 2 :] if reason.startswith(f"{path}: ") else reason


def _has_long_number(header: SliceHeader) -> bool:
    values = [v for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing") for v in header.get(tag)]
    return any(len(str(getattr(value, "original_string", ""))) > 16 for value in values)


def _facts(entry: SeriesEntry, stack: _Stack) -> dict[str, Any]:
    from pydicom.uid import UID

    first = stack.headers[0]
    syntaxes = sorted({header.transfer_syntax for header in stack.headers})
    kernel = first.get("ConvolutionKernel", "")
    rescale = {(h.numbers("RescaleSlope", 1)[0], h.numbers("RescaleIntercept", 1)[0]) for h in stack.headers}
    return {
        "modality": entry.modality,
        "kernel": [kernel] if isinstance(kernel, str) else [str(part) for part in kernel],
        "kvp": _optional(first, "KVP"),
        "slice_thickness_mm": _optional(first, "SliceThickness"),
        "gantry_tilt_degrees_recorded": _optional(first, "GantryDetectorTilt"),
        "transfer_syntax": [{"uid": uid, "name": UID(uid).name} for uid in syntaxes],
        "decoder": sorted({decoder_name(uid) for uid in syntaxes}),
        "rescale": [{"slope": slope, "intercept": intercept} for slope, intercept in sorted(rescale)],
        "padding_rule": PADDING_RULE,
    }


def _optional(header: SliceHeader, keyword: str) -> float | None:
    value = header.get(keyword)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
