"""Read DICOM Segmentation objects (binary, fractional, label map) as named masks with their exact geometry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.geometry import Grid
from medseg.geometry.contours import PatchMask
from medseg.io.bounded.choice import ALL_ITEMS, ItemChoice
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.bounded.limits import ReadLimits, check_geometry
from medseg.io.privacy.names import shown_term
from medseg.io.results.frames import damage_in_one_line, frame_count, read_dicom
from medseg.io.results.seg_collect import Refusals, collect_labels, collect_masks
from medseg.io.results.seg_place import FrameGroup, frames_by_segment, place_segments
from medseg.io.results.seg_segments import segment_infos
from medseg.io.results.segment_info import SegmentInfo
from medseg.io.results.segment_masks import Segment, SegmentMasks, segment_from_planes
from medseg.io.results.source import SourceSeries

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["read_seg"]

_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": ("BINARY", "FRACTIONAL"),
    "1.2.840.10008.5.1.4.1.1.66.7": ("LABELMAP",),
}


def read_seg(
    path: str | Path,
    onto: SourceSeries | Grid | None = None,
    *,
    choice: ItemChoice = ALL_ITEMS,
    allow_partial: bool = False,
) -> SegmentMasks:
    """Read a DICOM SEG.

    Frames are placed by their own positions; their order in the file does not matter. Without ``onto`` the grid is the
    smallest regular grid through all frames, ``[i = column, j = row, k = slice along the normal]``; slices without a
    frame are empty.

    Args:
        path: the file.
        onto: the series that was segmented, or a grid in RAS mm with axes in any order: the masks are put on it. Frames
            that do not lie on it pixel by pixel are refused.
        choice: which segments are wanted, by name or number; frames of others are not looked at.
        allow_partial: go on without segments that cannot be used; each is in ``refused`` with the reason.

    Returns:
        One mask for each segment: bool, or float32 for a fractional file (stored value / MaximumFractionalValue). In a
        label map, background and padding belong to no segment. ``warnings`` names empty masks and unusual numbers.

    Raises:
        DataError: not a segmentation, values that contradict the header, frames that do not form a regular grid or do
            not lie on ``onto``; with ``allow_partial`` if that holds for all segments. A choice of what is not there.
        UnreadableFileError: a file that is cut off or cannot be decoded.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import read_seg, read_source, write_seg
        >>> affine, mask = np.diag([0.7, 0.7, 2.5, 1]), np.zeros((4, 3, 2), np.uint8)
        >>> mask[1:3, 1, 0] = 1
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(f"{folder}/ct", mask + 40, affine, patient_id="P1", series_description="water")
        ...     source = read_source(f"{folder}/ct")
        ...     _ = write_seg(f"{folder}/seg.dcm", mask, affine, source, {1: "liver"})
        ...     masks = read_seg(f"{folder}/seg.dcm", onto=source)
        >>> masks.segments[0].info.name, masks.mask(0).sum().item(), bool((masks.mask(0) == mask).all())
        ('liver', 2, True)
    """
    where = Path(path)
    data = read_dicom(where)
    with damage_in_one_line(where):
        return _read(data, onto, where, choice, allow_partial)


def _read(
    data: Dataset, onto: SourceSeries | Grid | None, where: Path, choice: ItemChoice, allow_partial: bool
) -> SegmentMasks:
    kind = _kind(data, where)
    infos, background = segment_infos(data, where)
    if isinstance(onto, SourceSeries):
        _check_frame_of_reference(data, onto, where)
        onto = onto.grid
    choice.check(where, "segment", ((info.name, str(number)) for number, info in infos.items()))
    wanted = {number for number, info in infos.items() if choice.wants(info.name, str(number))}
    refused = Refusals(where, infos, allow_partial)
    groups = _groups(data, kind, wanted, infos, choice, onto, refused, where)
    grid = Grid(groups[0].stack.affine_ras, groups[0].stack.shape) if onto is None else onto
    _check_size(grid, kind, where)
    notes = list(dict.fromkeys(line for group in groups for line in group.stack.notes))
    if kind == "LABELMAP":
        patches, found = collect_labels(data, groups[0], infos, background, choice, refused, where)
        group_of = dict.fromkeys(infos, groups[0])
        notes += found
    else:
        patches, group_of = collect_masks(data, kind, groups, refused, where)
        notes += _number_notes(infos)
    usable = sorted(wanted - refused.found.keys())
    segments = tuple(_segment(infos[n], patches.planes.get(n, {}), group_of.get(n), kind) for n in usable)
    refused.check_rest(len(segments))
    notes += [f"{s.info.name!r}: no frame shows it; its mask is empty" for s in segments if not s.box.size]
    left_out = tuple(info.name for number, info in sorted(infos.items()) if number not in wanted)
    return SegmentMasks(segments, grid.shape, grid.affine, _source(data), tuple(notes), refused.listed(), left_out)


def _groups(
    data: Dataset,
    kind: str,
    wanted: set[int],
    infos: dict[int, SegmentInfo],
    choice: ItemChoice,
    onto: Grid | None,
    refused: Refusals,
    where: Path,
) -> list[FrameGroup]:
    """The frames that are looked at, placed; segments that cannot be placed are refused."""
    if kind == "LABELMAP":
        return place_segments(data, {0: range(frame_count(data, where))}, onto, where, False)[0]
    frames = frames_by_segment(data, where)
    for number in sorted(frames.keys() - infos.keys()):
        if choice.wants(f"segment {number}", str(number)):
            first = frames[number][0] + 1
            refused.add(number, f"frame {first} belongs to segment {number}, described are {sorted(infos)}")
    chosen = {number: frames.get(number, ()) for number in sorted(wanted)}
    if not any(chosen.values()):  # of segments without frames, the others' frames tell the grid
        chosen = {0: tuple(range(frame_count(data, where)))}
    groups, faults = place_segments(data, chosen, onto, where, refused.allow_partial)
    for number, reason in faults.items():
        refused.add(number, reason)
    return groups


def _check_size(grid: Grid, kind: str, where: Path) -> None:
    check_geometry(where, grid.affine)
    limits, itemsize = ReadLimits.from_environment(), 4 if kind == "FRACTIONAL" else 1
    limits.check_shape(where, grid.shape, itemsize)
    limits.check_budget(where, grid.shape, itemsize)


def _segment(info: SegmentInfo, planes: dict[int, PatchMask], group: FrameGroup | None, kind: str) -> Segment:
    """A segment on the target grid; ``group`` holds its frames, None if it has none."""
    dtype: type[np.generic] = np.float32 if kind == "FRACTIONAL" else np.bool_
    segment = segment_from_planes(info, planes, dtype)
    if group is None or group.back is None:
        return segment
    return segment.reordered(group.stack.shape, group.back)


def _number_notes(infos: dict[int, SegmentInfo]) -> list[str]:
    """Numbers that the standard does not allow where every segment has frames of its own (PS3.3 C.8.20.2)."""
    if sorted(infos) == list(range(1, len(infos) + 1)):
        return []
    wanted = "1" if len(infos) == 1 else f"1 to {len(infos)}"
    return [
        f"segments are numbered {shorten(sorted(infos))}, the standard has {wanted}; the numbers are kept, other "
        "programs may refuse them"
    ]


def _kind(data: Dataset, where: Path) -> str:
    allowed = _CLASSES.get(str(data.get("SOPClassUID", "")))
    if allowed is None:
        name = getattr(data.get("SOPClassUID"), "name", "no SOP class")
        raise DataError(f"{where}: {name}, expected a DICOM Segmentation (Modality SEG)")
    kind = str(data.get("SegmentationType", ""))
    if kind not in allowed:
        raise DataError(
            f"{where}: SegmentationType is {shown_term(str(kind)) or 'absent'}, expected {' or '.join(allowed)}"
        )
    return kind


def _check_frame_of_reference(data: Dataset, source: SourceSeries, where: Path) -> None:
    found = str(data.get("FrameOfReferenceUID", "") or "")
    if found and found != source.frame_of_reference_uid:
        raise DataError(
            f"{where}: frame of reference {found}, but the series has {source.frame_of_reference_uid}: they were not "
            "acquired in one position; give the series that was segmented"
        )


def _source(data: Dataset) -> dict[str, Any]:
    series = list(data.get("ReferencedSeriesSequence") or [])
    instances = [item for entry in series for item in entry.get("ReferencedInstanceSequence") or []]
    return {
        "series_uid": str(series[0].get("SeriesInstanceUID", "")) if series else "",
        "frame_of_reference_uid": str(data.get("FrameOfReferenceUID", "") or ""),
        "sop_instance_uids": [str(item.get("ReferencedSOPInstanceUID", "")) for item in instances],
        "segmentation_type": str(data.get("SegmentationType", "")),
        "fractional_type": str(data.get("SegmentationFractionalType", "") or ""),
    }
