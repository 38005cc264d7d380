"""Read DICOM Segmentation objects (binary, fractional, label map) as named masks with their exact geometry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Grid
from medseg.geometry.contours import PatchMask
from medseg.geometry.regrid import find_reordering
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.bounded.limits import ReadLimits, check_geometry
from medseg.io.privacy.names import shown_term
from medseg.io.results.frames import (
    FrameGeometry,
    FrameStack,
    damage_in_one_line,
    frame_geometry,
    functional_group,
    place_frames,
    read_dicom,
    stack_frames,
)
from medseg.io.results.seg_frames import stored_frames
from medseg.io.results.seg_segments import segment_infos
from medseg.io.results.segment_info import SegmentInfo
from medseg.io.results.segment_masks import SegmentMasks, segment_from_planes
from medseg.io.results.source import SourceSeries

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["read_seg"]

_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": ("BINARY", "FRACTIONAL"),
    "1.2.840.10008.5.1.4.1.1.66.7": ("LABELMAP",),
}


class _Patches(NamedTuple):
    """The patches found so far: one cropped patch for each segment number and slice."""

    planes: dict[int, dict[int, PatchMask]]
    where: Path

    def add(self, number: int, k: int, values: NDArray[Any]) -> None:
        """Keep the part of a plane ``[column, row]`` that is not zero."""
        known = self.planes.setdefault(number, {})
        if k in known:
            raise DataError(f"{self.where}: two frames of segment {number} on slice {k}, expected one")
        columns, rows = (np.flatnonzero(values.any(axis=axis)) for axis in (1, 0))
        x, y = (slice(hits[0], hits[-1] + 1) if len(hits) else slice(0, 0) for hits in (columns, rows))
        known[k] = PatchMask((int(x.start), int(y.start)), values[x, y].copy())


def read_seg(path: str | Path, onto: SourceSeries | Grid | None = None) -> SegmentMasks:
    """Read a DICOM SEG.

    Frames are placed by their own positions; their order in the file does not matter. Without ``onto`` the grid is the
    smallest regular grid through all frames, ``[i = column, j = row, k = slice along the normal]``; slices without a
    frame are empty.

    Args:
        path: the file.
        onto: the series that was segmented, or a grid in RAS mm with axes in any order: the masks are put on it. Frames
            that do not lie on it pixel by pixel are refused.

    Returns:
        One mask for each segment: bool, or float32 for a fractional file (stored value / MaximumFractionalValue). In a
        label map, background and padding belong to no segment.

    Raises:
        DataError: not a segmentation, values that contradict the header, frames that do not form a regular grid or do
            not lie on ``onto``.
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
        return _read(data, onto, where)


def _read(data: Dataset, onto: SourceSeries | Grid | None, where: Path) -> SegmentMasks:
    kind = _kind(data, where)
    geometry = frame_geometry(data, where)
    infos, background = segment_infos(data, where)
    if isinstance(onto, SourceSeries):
        _check_frame_of_reference(data, onto, where)
        onto = onto.grid
    stack, restore = _place(geometry, onto, where)
    check_geometry(where, stack.affine_ras)
    limits, itemsize = ReadLimits.from_environment(), 4 if kind == "FRACTIONAL" else 1
    limits.check_shape(where, stack.shape, itemsize)
    limits.check_budget(where, stack.shape, itemsize)
    patches = _Patches({}, where)
    notes = list(stack.notes)
    if kind == "LABELMAP":
        notes += _collect_labels(data, stack, infos, background, patches)
    else:
        _collect_masks(data, kind, stack, infos, patches)
    dtype: type[np.generic] = np.float32 if kind == "FRACTIONAL" else np.bool_
    segments = tuple(
        segment_from_planes(info, patches.planes.get(number, {}), dtype) for number, info in sorted(infos.items())
    )
    masks = SegmentMasks(segments, stack.shape, stack.affine_ras, _source(data), tuple(notes))
    return masks if onto is None or restore is None else masks.reordered(restore, onto.affine)


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


def _place(geometry: FrameGeometry, onto: Grid | None, where: Path) -> tuple[FrameStack, Any]:
    """The frames on their own grid, or on ``onto`` in the frames' axis order with the re-ordering to its own axes."""
    if onto is None:
        return stack_frames(geometry, where), None
    normal = np.cross(geometry.orientation[:3], geometry.orientation[3:])
    own = geometry.plane_affine_ras(geometry.positions_lps[0], normal)
    turned = find_reordering(onto.affine, onto.shape, own, onto.shape)
    affine = turned.affine(onto.affine, onto.shape)
    shape = tuple(onto.shape[axis] for axis in turned.axes)
    stack = place_frames(geometry, affine, shape, where)
    return stack, None if turned.is_identity else turned.inverse()


def _collect_masks(
    data: Dataset, kind: str, stack: FrameStack, infos: dict[int, SegmentInfo], patches: _Patches
) -> None:
    where = patches.where
    largest = int(data.get("MaximumFractionalValue", 0) or 0) if kind == "FRACTIONAL" else 1
    if largest < 1:
        raise DataError(f"{where}: MaximumFractionalValue is {largest}, expected at least 1")
    for frame, values in enumerate(stored_frames(data, where)):
        group = functional_group(data, frame, "SegmentIdentificationSequence")
        number = int(group.get("ReferencedSegmentNumber", 0) or 0) if group is not None else 0
        if number not in infos:
            raise DataError(f"{where}: frame {frame + 1} belongs to segment {number}, described are {sorted(infos)}")
        if values.max() > largest:
            raise DataError(f"{where}: frame {frame + 1} holds {values.max()}, expected at most {largest} ({kind})")
        plane = values.astype(bool) if kind == "BINARY" else values.astype(np.float32) / np.float32(largest)
        patches.add(number, int(stack.planes[frame]), plane.T)


def _collect_labels(
    data: Dataset, stack: FrameStack, infos: dict[int, SegmentInfo], background: set[int], patches: _Patches
) -> list[str]:
    where = patches.where
    padding = data.get("PixelPaddingValue")
    empty = background | {0} | (set() if padding is None else {int(padding)})
    seen: set[int] = set()
    for frame, values in enumerate(stored_frames(data, where)):
        k = int(stack.planes[frame])
        if k in seen:
            raise DataError(f"{where}: two frames on slice {k}, expected one")
        seen.add(k)
        for value in np.unique(values).tolist():
            if value in infos:
                patches.add(int(value), k, (values == value).T)
            elif value not in empty:
                raise DataError(f"{where}: frame {frame + 1} holds {value}, described are segments {sorted(infos)}")
    absent = sorted(set(range(stack.shape[2])) - seen)
    if padding is not None and int(padding) not in background | {0} and absent:
        return [f"slices {shorten(absent)} have no frame: the file calls them padding, not background; left empty"]
    return []


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
