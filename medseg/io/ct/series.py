"""A CT series of DICOM files as volumes in Hounsfield units with their exact geometry, or one clear refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Affine
from medseg.geometry.slice_stack import longest_regular_run, stack_affine_ras
from medseg.io.bounded.errors import SeriesChoiceError, UnreadableFileError, shorten
from medseg.io.bounded.limits import ReadLimits, check_geometry
from medseg.io.ct.duplicates import refuse_different
from medseg.io.ct.facts import header_notes, pixel_notes, series_facts, series_warnings
from medseg.io.ct.pixels import SliceDecoder, check_pixel_format
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.repair import PartPlan, note_duplicates, plan_parts, repair_volume
from medseg.io.ct.rescale import Rescale, state_rescale
from medseg.io.ct.scan import SeriesEntry, SeriesListing, choose_series, list_series
from medseg.io.ct.stack import SliceStack, sort_stack

__all__ = ["CtSeries", "only_part", "read_entry", "read_parts", "read_series"]

_Part = TypeVar("_Part")

REFUSE = GeometryPolicy()
"""The default: whatever is irregular is refused."""


@dataclass(frozen=True)
class CtSeries:
    """One CT volume in memory: a series, one grid of it, or one even stretch.

    Attributes:
        array: int16 Hounsfield units ``[i = column, j = row, k = slice along the normal]``, i fastest in memory.
        affine_ras: 4 x 4, voxel to RAS mm.
        series_uid: SeriesInstanceUID.
        sop_instance_uids: SOPInstanceUID of every slice, by k; "" for a slice that was blended from two.
        files: file of every slice, by k; the lower one's for a slice that was blended from two.
        positions_mm: position of every slice along the slice normal, by k (z in LPS for axial slices).
        facts: recorded header values: modality, kernel, kvp, slice_thickness_mm, transfer_syntax, rescale, decoder ...
        warnings: findings that did not prevent reading, one line each.
        left_out: files of the series that are not in the volume, with the reason.
        ignored_files: number of files in the folder that are not DICOM.
        repairs: what the geometry policy changed: dictionaries with ``rule``, ``what``, ``count``, ``mm`` and details.
            Empty if every voxel lies where the scanner put it.
        source_sop_instance_uids: the one or two source slices of every slice, by k.
        frame_numbers: frame in its file of every slice, by k, from 1; 0 for single-frame files.
        name: by what ``--series`` chooses it: the UID, or ``UID#N`` where the series mixes several grids.
        part: number of the even stretch from 1, or 0 where the series was not split.
        folder: where the files were searched.
        stack: the slices that it was made of, with their headers, sorted: what results have to refer to.
        policy: under what it was read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import read_series
        >>> affine = np.diag([0.7, 0.7, 2.5, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(folder, np.full((4, 3, 2), 40), affine, patient_id="P1", series_description="water")
        ...     series = read_series(folder)
        >>> series.positions_mm, len(series.sop_instance_uids), series.warnings
        ((0.0, 2.5), 2, ())
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
    repairs: tuple[dict[str, Any], ...] = ()
    source_sop_instance_uids: tuple[tuple[str, ...], ...] = ()
    frame_numbers: tuple[int, ...] = ()
    name: str = ""
    part: int = 0
    folder: Path | None = None
    stack: SliceStack | None = field(default=None, repr=False)
    policy: GeometryPolicy = REFUSE

    def repair_record(self) -> dict[str, Any]:
        """What was repaired and under which policy, as JSON keeps it: masks find their way back to DICOM by it."""
        policy = replace(self.policy, part=self.part).record() if self.repairs else None
        return {"repairs": list(self.repairs), "repair_policy": policy}


class _Decoded(NamedTuple):
    """All slices of a stack as voxels, with what was found in each: padding raised, padding kept, rounding."""

    volume: NDArray[np.int16]
    findings: NDArray[np.float64]

    def take(self, keep: list[int]) -> _Decoded:
        if keep == list(range(self.volume.shape[2])):
            return self
        return _Decoded(np.asfortranarray(self.volume[:, :, keep]), self.findings[keep])


def read_series(
    folder: str | Path,
    series_uid: str | None = None,
    *,
    allow_partial: bool = False,
    policy: GeometryPolicy = REFUSE,
    allow_burned_in: bool = False,
    assume_rescale: Rescale | None = None,
) -> CtSeries:
    """Read one CT series from a folder (recursive; any file names; files that are not DICOM are counted and ignored).

    Slices are sorted by position along the row x column normal; spacing comes from positions, never from SliceThickness
    or SpacingBetweenSlices; slope and intercept are applied slice by slice; padding follows ``PADDING_RULE``. Frames of
    a multi-frame (enhanced) CT are slices like those of single files.

    Args:
        folder: where the DICOM files are.
        series_uid: SeriesInstanceUID, needed only where the folder holds several CT series; ``UID#N`` for one grid of a
            series that mixes several.
        allow_partial: leave out unreadable files and copies of slices at one position, and (unless the policy fills or
            splits gaps) keep the longest stretch without a gap. Every file left out is named in ``left_out`` and
            ``warnings``.
        policy: what is done with gantry tilt, missing or duplicate slices and variable spacing; by default all are
            refused.
        allow_burned_in: read slices whose header says that text is drawn in their pixels, and secondary captures of
            modality CT that were chosen; a warning says so.
        assume_rescale: slope and intercept of the slices whose header has none, if the user states them; a warning says
            so.

    Raises:
        SeriesChoiceError: no CT series, or several and none chosen; several even stretches after a split.
        SeriesGeometryError: irregular geometry that the policy does not repair, or cannot.
        UnreadableFileError: files that are cut off or cannot be decoded.
        DataError: other contents that make no CT volume.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import read_series
        >>> affine = np.diag([0.7, 0.7, 2.5, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(folder, np.full((4, 3, 2), 40), affine, patient_id="P1", series_description="water")
        ...     series = read_series(folder)
        >>> series.array.shape, series.array.max().item(), series.affine_ras.diagonal().tolist()
        ((4, 3, 2), 40, [0.7, 0.7, 2.5, 1.0])
    """
    parts = read_parts(
        folder,
        series_uid,
        allow_partial=allow_partial,
        policy=policy,
        allow_burned_in=allow_burned_in,
        assume_rescale=assume_rescale,
    )
    return only_part(folder, parts)


def only_part(where: object, parts: Sequence[_Part]) -> _Part:
    """The one volume of a series.

    Raises:
        SeriesChoiceError: if the policy split the series into several even stretches and names none of them.
    """
    if len(parts) > 1:
        raise SeriesChoiceError(
            f"{where}: the series splits into {len(parts)} even stretches, expected one; choose it with --part N"
        )
    return parts[0]


def read_parts(
    folder: str | Path,
    series_uid: str | None = None,
    *,
    allow_partial: bool = False,
    policy: GeometryPolicy = REFUSE,
    allow_burned_in: bool = False,
    assume_rescale: Rescale | None = None,
) -> tuple[CtSeries, ...]:
    """Read one CT series as one volume, or as one for each even stretch where the policy splits; see `read_series`."""
    listing = list_series(folder)
    entry = choose_series(listing, series_uid, allow_burned_in)
    return read_entry(
        listing,
        entry,
        allow_partial=allow_partial,
        policy=policy,
        allow_burned_in=allow_burned_in,
        assume_rescale=assume_rescale,
    )


def read_entry(
    listing: SeriesListing,
    entry: SeriesEntry,
    *,
    allow_partial: bool = False,
    policy: GeometryPolicy = REFUSE,
    allow_burned_in: bool = False,
    assume_rescale: Rescale | None = None,
) -> tuple[CtSeries, ...]:
    """Read one entry of a folder that was scanned before; see `read_series` for the rest.

    Args:
        listing: what `medseg.io.ct.scan.list_series` found.
        entry: one of its ``series``.
        allow_partial: see `read_series`.
        policy: see `read_series`.
        allow_burned_in: see `read_series`.
        assume_rescale: see `read_series`.
    """
    if listing.unreadable and not allow_partial:
        raise UnreadableFileError(_name_unreadable(listing.unreadable))
    entry, stated = state_rescale(entry, assume_rescale)
    for header in entry.headers:
        check_pixel_format(header, allow_burned_in)
    stack = sort_stack(entry)
    _check_budget(listing.folder, stack)
    notes = header_notes(entry, stack)
    if stated is not None:
        notes.insert(0, stated.describe(len(entry.headers)))
    stack.left_out.extend(listing.unreadable)
    if allow_partial:
        decoded = _drop_copies(listing.folder, stack, _decode(stack, allow_partial))
        if policy.gap == "refuse":
            decoded = _keep_longest_run(stack, decoded)
        plans = plan_parts(listing.folder, stack, policy)
    else:
        plans = plan_parts(listing.folder, stack, policy)
        decoded = _decode(stack, allow_partial)
    parts = [_build(listing, entry, stack, plan, decoded, notes) for plan in plans]
    if stated is not None:
        parts = [replace(part, facts={**part.facts, "assumed_rescale": stated.record()}) for part in parts]
    return tuple(replace(part, policy=policy) for part in parts)


def _build(
    listing: SeriesListing,
    entry: SeriesEntry,
    stack: SliceStack,
    plan: PartPlan,
    decoded: _Decoded,
    notes: list[str],
) -> CtSeries:
    along = stack.positions @ stack.normal
    note_duplicates(plan, along.tolist())
    volume = repair_volume(plan, decoded.volume)
    headers = [stack.headers[index] for index in plan.indices]
    sources = [tuple(stack.headers[index] for index in indices) for indices in plan.sources]
    left_out = [*stack.left_out]
    for gone, stays in plan.dropped:
        reason = f"second slice at {along[gone]:.3f} mm; {stack.headers[stays].label} is kept"
        left_out.append((stack.headers[gone].path, reason))
    warnings = series_warnings(listing, entry, headers, left_out, plan.repairs)
    return CtSeries(
        array=volume,
        affine_ras=check_geometry(
            listing.folder, stack_affine_ras(plan.positions, stack.orientation, stack.pixel_spacing)
        ),
        series_uid=entry.uid,
        sop_instance_uids=tuple(found[0].sop_uid if len(found) == 1 else "" for found in sources),
        files=tuple(found[0].path for found in sources),
        positions_mm=tuple(float(value) for value in plan.positions @ stack.normal),
        facts=series_facts(entry, headers),
        warnings=tuple(warnings + notes + pixel_notes(volume, decoded.findings[plan.indices])),
        left_out=tuple(left_out),
        ignored_files=listing.ignored,
        repairs=tuple(plan.repairs),
        source_sop_instance_uids=tuple(tuple(header.sop_uid for header in found) for found in sources),
        frame_numbers=tuple(found[0].frame if len(found) == 1 else 0 for found in sources),
        name=entry.name,
        part=plan.part,
        folder=listing.folder,
        stack=replace(stack, headers=headers),
    )


def _check_budget(folder: Path, stack: SliceStack) -> None:
    rows, columns = (int(stack.headers[0].numbers(keyword, 1)[0]) for keyword in ("Rows", "Columns"))
    limits, shape = ReadLimits.from_environment(), (columns, rows, len(stack.headers))
    limits.check_shape(folder, shape, np.dtype(np.int16).itemsize)
    limits.check_budget(folder, shape, np.dtype(np.int16).itemsize)


def _name_unreadable(files: tuple[tuple[Path, str], ...] | list[tuple[Path, str]]) -> str:
    others = shorten(path.name for path, _ in files[1:])
    more = f"; {len(files) - 1} more unreadable: {others}" if others else ""
    path, reason = files[0]
    return (f"{reason}" if str(path) in reason else f"{path}: {reason}") + more


def _decode(stack: SliceStack, allow_partial: bool) -> _Decoded:
    """Decode all slices; with ``allow_partial`` those that fail are taken out of the stack."""
    decoder = SliceDecoder()
    volume = np.empty((0, 0, 0), dtype=np.int16)
    findings = np.zeros((len(stack.headers), 3))
    failures: list[tuple[Path, str]] = []
    failed: set[int] = set()
    # In file order, so that a multi-frame file is opened once.
    for k in sorted(range(len(stack.headers)), key=lambda k: (stack.headers[k].path, stack.headers[k].frame)):
        try:
            decoded = decoder.decode(stack.headers[k])
        except UnreadableFileError as error:
            failed.add(k)
            failures.append((stack.headers[k].path, str(error)))
            continue
        if not volume.size:  # only now is it known that the declared size is real
            volume = np.empty((*decoded.hu.shape, len(stack.headers)), dtype=np.int16, order="F")
        volume[:, :, k] = decoded.hu
        findings[k] = decoded.padding_raised, decoded.padding_kept, decoded.rounding
    if failures and not allow_partial:
        raise UnreadableFileError(_name_unreadable(failures))
    stack.left_out.extend(failures)
    keep = [k for k in range(len(stack.headers)) if k not in failed]
    stack.headers = [stack.headers[k] for k in keep]
    return _Decoded(volume, findings).take(keep) if volume.size else _Decoded(volume, findings[:0])


def _drop_copies(where: Path, stack: SliceStack, decoded: _Decoded) -> _Decoded:
    """Leave out second slices with the pixels of the first at their position; others are refused."""
    if stack.headers:
        refuse_different(where, stack.headers, stack.positions @ stack.normal, decoded.volume)
    return decoded.take(stack.drop_duplicates())


def _keep_longest_run(stack: SliceStack, decoded: _Decoded) -> _Decoded:
    if not stack.headers:
        return decoded
    run, _ = longest_regular_run(stack.positions @ stack.normal)
    headers = stack.headers
    dropped = headers[: run.start] + headers[run.stop :]
    stack.left_out.extend((header.path, "beyond a gap in the series") for header in dropped)
    stack.headers = headers[run]
    return decoded.take(list(range(len(headers)))[run])
