"""The planes of the segments of a SEG, frame by frame, and the segments that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.geometry.contours import PatchMask
from medseg.io.bounded.choice import ItemChoice
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.results.seg_frames import stored_frames
from medseg.io.results.seg_place import FrameGroup, frames_by_segment
from medseg.io.results.segment_info import SegmentInfo
from medseg.io.results.segment_masks import RefusedSegment

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Patches", "Refusals", "collect_labels", "collect_masks"]


class Patches(NamedTuple):
    """The patches found so far: one cropped patch for each segment number and slice."""

    planes: dict[int, dict[int, PatchMask]]

    def add(self, number: int, k: int, values: NDArray[Any]) -> bool:
        """Keep the part of a plane ``[column, row]`` that is not zero; False if the slice has one already."""
        known = self.planes.setdefault(number, {})
        if k in known:
            return False
        columns, rows = (np.flatnonzero(values.any(axis=axis)) for axis in (1, 0))
        x, y = (slice(hits[0], hits[-1] + 1) if len(hits) else slice(0, 0) for hits in (columns, rows))
        known[k] = PatchMask((int(x.start), int(y.start)), values[x, y].copy())
        return True


class Refusals:
    """The segments that cannot be used; where the reader does not go on without them, the first is an error.

    Args:
        where: the file.
        infos: the segments that it describes.
        allow_partial: go on.
    """

    def __init__(self, where: Path, infos: dict[int, SegmentInfo], allow_partial: bool) -> None:
        self._where, self._infos, self.allow_partial = where, infos, allow_partial
        self.found: dict[int, str] = {}

    def add(self, number: int, reason: str) -> None:
        """Refuse a segment; of several reasons the first is kept."""
        if not self.allow_partial:
            raise DataError(f"{self._where}: {reason}")
        self.found.setdefault(number, reason)

    def check_rest(self, left: int) -> None:
        """Raise if no segment is left."""
        if self.found and not left:
            reasons = list(self.found.values())
            more = f" (and the same or other faults in {len(reasons) - 1} more segments)" if len(reasons) > 1 else ""
            raise DataError(f"{self._where}: {reasons[0]}{more}")

    def listed(self) -> tuple[RefusedSegment, ...]:
        """In the order of their numbers."""
        names = {number: info.name for number, info in self._infos.items()}
        return tuple(
            RefusedSegment(number, names.get(number, f"segment {number}"), reason)
            for number, reason in sorted(self.found.items())
        )


def collect_masks(
    data: Dataset, kind: str, groups: Sequence[FrameGroup], refused: Refusals, where: Path
) -> tuple[Patches, dict[int, FrameGroup]]:
    """The planes of every segment whose frames were placed, and the group that they lie in."""
    largest = int(data.get("MaximumFractionalValue", 0) or 0) if kind == "FRACTIONAL" else 1
    if largest < 1:
        raise DataError(f"{where}: MaximumFractionalValue is {largest}, expected at least 1")
    number_of = {frame: n for n, frames in frames_by_segment(data, where).items() for frame in frames}
    placed = {frame: (group, k) for group in groups for frame, k in group.planes().items()}
    patches, group_of = Patches({}), {}
    for frame, values in enumerate(stored_frames(data, where)):
        if frame not in placed or number_of[frame] in refused.found:
            continue
        number, (group, k) = number_of[frame], placed[frame]
        group_of[number] = group
        if values.max() > largest:
            refused.add(number, f"frame {frame + 1} holds {values.max()}, expected at most {largest} ({kind})")
            continue
        plane = values.astype(bool) if kind == "BINARY" else values.astype(np.float32) / np.float32(largest)
        if not patches.add(number, k, plane.T):
            refused.add(number, f"two frames of segment {number} on slice {k}, expected one")
    return patches, group_of


def collect_labels(
    data: Dataset,
    group: FrameGroup,
    infos: dict[int, SegmentInfo],
    background: set[int],
    choice: ItemChoice,
    refused: Refusals,
    where: Path,
) -> tuple[Patches, list[str]]:
    """The planes of every segment of a label map, and what is odd about the frames."""
    padding = data.get("PixelPaddingValue")
    empty = background | {0} | (set() if padding is None else {int(padding)})
    patches, planes = Patches({}), group.planes()
    seen: set[int] = set()
    for frame, values in enumerate(stored_frames(data, where)):
        k = planes[frame]
        if k in seen:
            raise DataError(f"{where}: two frames on slice {k}, expected one")
        seen.add(k)
        for value in np.unique(values).tolist():
            if value in infos:
                patches.add(int(value), k, (values == value).T)
            elif value not in empty and choice.wants(f"segment {value}", str(value)):
                refused.add(int(value), f"frame {frame + 1} holds {value}, described are segments {sorted(infos)}")
    absent = sorted(set(range(group.stack.shape[2])) - seen)
    if padding is not None and int(padding) not in background | {0} and absent:
        line = f"slices {shorten(absent)} have no frame: the file calls them padding, not background; left empty"
        return patches, [line]
    return patches, []
