"""Contours of an RT Structure Set filled to masks on a given grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Affine, Grid, flip_lps_ras, world_to_voxel
from medseg.geometry.contours import PatchMask
from medseg.geometry.pixel_borders import fill_even_odd
from medseg.geometry.regrid import Reordering
from medseg.io.bounded.choice import ALL_ITEMS, ItemChoice
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.results.segment_masks import RefusedSegment, Segment, SegmentMasks, segment_from_planes
from medseg.io.results.source import SourceSeries
from medseg.io.results.structure_set import Contour, Roi, StructureSet

__all__ = ["Combine", "structure_masks"]

Combine = Literal["xor", "union"]
"""How overlapping CLOSED_PLANAR contours of one structure on one slice are combined: "xor" makes an inner contour a
hole, "union" does not. Contours of type CLOSEDPLANAR_XOR are always combined by exclusive or."""

_FILLED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OFF_SLICE_VOX = 0.1
_LAST = ((1, 2, 0), (0, 2, 1), (0, 1, 2))  # axis orders that put axis 0, 1 or 2 last


class _Frame(NamedTuple):
    """The target grid with the slices' axis last."""

    affine_ras: Affine
    shape: tuple[int, int, int]
    axis: int
    back: Reordering


def structure_masks(
    structures: StructureSet,
    onto: SourceSeries | Grid,
    combine: Combine = "xor",
    *,
    choice: ItemChoice = ALL_ITEMS,
    allow_partial: bool = False,
) -> SegmentMasks:
    """Fill the contours of every structure: a voxel belongs to it if its centre lies inside, by the even-odd rule.

    Every structure is placed by itself. Structures without contours become empty masks. ``warnings`` names empty masks
    and what was left out or needed a decision: points and open contours, contours of less than three points,
    overlapping contours, slices skipped between contours, contours that reach beyond the image.

    Args:
        structures: what `medseg.io.results.rtstruct_read.read_structures` returned.
        onto: the series that was contoured, or a grid in RAS mm with axes in any order.
        combine: see :data:`Combine`.
        choice: which structures are wanted, by name or number.
        allow_partial: go on without structures that cannot be used; each is in ``refused`` with the reason.

    Raises:
        DataError: contours that are damaged, in another frame of reference, not on slices of the grid, or outside it,
            with the numbers; with ``allow_partial`` if that holds for all structures. A choice of what is not there.
    """
    if combine not in get_args(Combine):
        raise DataError(f"combine is {combine!r}, expected one of {', '.join(get_args(Combine))}")
    path = structures.path
    names = [(roi.info.name, str(roi.info.number)) for roi in structures.rois]
    choice.check(path, "structure", names)
    flags = [choice.wants(*own) for own in names]
    notes: list[str] = []
    segments: list[Segment] = []
    refused: list[RefusedSegment] = []
    for roi in compress(structures.rois, flags):
        try:
            segments.append(_structure_mask(roi, onto, combine, path, notes))
        except DataError as error:
            if not allow_partial:
                raise
            name = roi.info.name
            reason = str(error).removeprefix(f"{path}: ").removeprefix(f"{name!r}: ")
            refused.append(RefusedSegment(roi.info.number, name, reason))
    if refused and not segments:
        more = f" (and the same or other faults in {len(refused) - 1} more structures)" if len(refused) > 1 else ""
        raise DataError(f"{path}: {refused[0].name!r}: {refused[0].reason}{more}")
    grid = onto.grid if isinstance(onto, SourceSeries) else onto
    left_out = tuple(roi.info.name for roi, wanted in zip(structures.rois, flags, strict=True) if not wanted)
    return SegmentMasks(
        tuple(segments), grid.shape, grid.affine, structures.source, tuple(notes), tuple(refused), left_out
    )


def _structure_mask(roi: Roi, onto: SourceSeries | Grid, combine: Combine, path: Path, notes: list[str]) -> Segment:
    """The mask of one structure on the grid, or the reason why there is none."""
    if roi.fault:
        raise DataError(f"{path}: {roi.fault}")
    grid = onto
    if isinstance(onto, SourceSeries):
        _check_frame_of_reference(roi, onto, path)
        grid = onto.grid
    assert isinstance(grid, Grid)
    frame = _frame(roi, grid)
    found: list[str] = []
    segment = _fill(roi, frame, combine, path, found)
    notes += found
    return segment if frame.axis == 2 else segment.reordered(frame.shape, frame.back)


def _check_frame_of_reference(roi: Roi, source: SourceSeries, path: Path) -> None:
    found = roi.frame_of_reference_uid
    if found and roi.contours and found != source.frame_of_reference_uid:
        raise DataError(
            f"{path}: {roi.info.name!r} lies in frame of reference {found}, the series in "
            f"{source.frame_of_reference_uid}; give the series that was contoured"
        )


def _frame(roi: Roi, grid: Grid) -> _Frame:
    """The grid, re-ordered so that contours lie on slices of the last axis, along which they extend least."""
    extent = np.zeros(3)
    for contour in roi.contours:
        if contour.kind in _FILLED:
            extent = np.maximum(extent, np.ptp(world_to_voxel(contour.points_lps, grid.affine, "LPS"), axis=0))
    axis = 2 if extent[2] <= _OFF_SLICE_VOX else int(np.argmin(extent))
    turn = Reordering(_LAST[axis], (False, False, False), 0.0)
    i, j, k = (grid.shape[a] for a in turn.axes)
    return _Frame(turn.affine(grid.affine, grid.shape), (i, j, k), axis, turn.inverse())


def _fill(roi: Roi, frame: _Frame, combine: Combine, path: Path, notes: list[str]) -> Segment:
    slices: dict[int, list[tuple[NDArray[np.float64], str]]] = defaultdict(list)
    where = f"{path}: {roi.info.name!r}"
    beyond = 0
    for contour in roi.contours:
        if contour.kind not in _FILLED or len(contour.points_lps) < 3:
            continue
        k, points = _on_slice(contour, frame, where)
        beyond += bool(np.any((points < -0.5 - _OFF_SLICE_VOX) | (points > np.array(frame.shape[:2]) - 0.4)))
        slices[k].append((points, contour.kind))
    planes: dict[int, PatchMask] = {}
    shared = 0
    for k, polygons in slices.items():
        planes[k], doubled = _combined(polygons, frame.shape[:2], combine)
        shared += doubled
    notes += _notes(roi, sorted(slices), beyond, shared, combine)
    segment = segment_from_planes(roi.info, planes)
    if not segment.box.size:
        reason = "its contours enclose the centre of no voxel" if roi.contours else "it has no contours"
        notes.append(f"{roi.info.name!r}: {reason}; its mask is empty")
    return segment


def _on_slice(contour: Contour, frame: _Frame, where: str) -> tuple[int, NDArray[np.float64]]:
    points = world_to_voxel(flip_lps_ras(contour.points_lps), frame.affine_ras, "RAS")
    along = points[:, 2]
    k = int(np.rint(along.mean()))
    off = float(np.abs(along - k).max())
    spacing = float(np.linalg.norm(frame.affine_ras[:3, 2]))
    if off > _OFF_SLICE_VOX:
        raise DataError(
            f"{where}: a contour lies {off * spacing:.3f} mm off the nearest slice (spacing {spacing:.3f} mm, at most "
            f"{_OFF_SLICE_VOX * spacing:.3f} mm is accepted); give the series that was contoured"
        )
    if not 0 <= k < frame.shape[2]:
        distance = (-k if k < 0 else k - frame.shape[2] + 1) * spacing
        raise DataError(
            f"{where}: a contour lies {distance:.3f} mm beyond the {frame.shape[2]} slices of the grid; give the whole "
            "series"
        )
    return k, points[:, :2]


def _combined(
    polygons: Sequence[tuple[NDArray[np.float64], str]], shape: Sequence[int], combine: Combine
) -> tuple[PatchMask, int]:
    """All contours of one slice as one patch, and the number of pixels in which ``combine`` changes the result."""
    patches = [fill_even_odd(points, shape) for points, _ in polygons]
    low = np.min([patch.start for patch in patches], axis=0)
    high = np.max([np.add(patch.start, patch.mask.shape) for patch in patches], axis=0)
    count = np.zeros(tuple(high - low), dtype=np.uint16)
    for patch in patches:
        x, y = np.subtract(patch.start, low)
        count[x : x + patch.mask.shape[0], y : y + patch.mask.shape[1]] += patch.mask
    explicit = any(kind == "CLOSEDPLANAR_XOR" for _, kind in polygons)
    mask = count % 2 == 1 if explicit or combine == "xor" else count > 0
    undecided = 0 if explicit else int(((count > 1) & (count % 2 == 0)).sum())
    return PatchMask((int(low[0]), int(low[1])), mask), undecided


def _notes(roi: Roi, slices: Sequence[int], beyond: int, shared: int, combine: Combine) -> list[str]:
    name = repr(roi.info.name)
    notes = []
    others = sorted({contour.kind or "no type" for contour in roi.contours if contour.kind not in _FILLED})
    if others:
        count = sum(contour.kind not in _FILLED for contour in roi.contours)
        notes.append(f"{name}: {count} contours of type {shorten(others)} enclose no area and are left out")
    short = sum(contour.kind in _FILLED and len(contour.points_lps) < 3 for contour in roi.contours)
    if short:
        notes.append(f"{name}: {short} closed contours of less than three points are left out")
    if beyond:
        notes.append(f"{name}: {beyond} contours reach beyond the image and were cut off there")
    if shared:
        effect = "holes" if combine == "xor" else "filled"
        notes.append(f"{name}: contours overlap in {shared} voxels, which are {effect} (combine {combine!r})")
    skipped = sorted(set(range(slices[0], slices[-1] + 1)) - set(slices)) if slices else []
    if skipped:
        notes.append(f"{name}: no contour on slices {shorten(skipped)} between others; they were left empty")
    return notes
