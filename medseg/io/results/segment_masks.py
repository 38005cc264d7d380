"""Named masks on one grid, each stored as its bounding box, since a file may hold many segments that overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Affine, voxel_volume_ml
from medseg.geometry.contours import PatchMask
from medseg.geometry.regrid import Reordering
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.results.segment_info import SegmentInfo

__all__ = ["RefusedSegment", "Segment", "SegmentMasks", "segment_from_planes"]


_LARGEST_LABEL = 65535


@dataclass(frozen=True)
class Segment:
    """One segment's mask.

    Attributes:
        info: its description; ``info.number`` is the number in the file.
        start: index of the box's first voxel.
        box: bool ``[i, j, k]``, or float32 from 0 to 1 if the file stores fractions; outside the box the mask is 0.
    """

    info: SegmentInfo
    start: tuple[int, int, int]
    box: NDArray[Any]

    @property
    def is_fractional(self) -> bool:
        """True if a value lies between 0 and 1."""
        return self.box.dtype != np.bool_ and bool(((self.box > 0) & (self.box < 1)).any())

    @property
    def where(self) -> tuple[slice, slice, slice]:
        """The box as an index of the whole grid."""
        i, j, k = (slice(first, first + n) for first, n in zip(self.start, self.box.shape, strict=True))
        return i, j, k

    def reordered(self, shape: tuple[int, ...], order: Reordering) -> Segment:
        """The same mask after the axes of its grid of ``shape`` were permuted and reversed."""
        ends = [size - first - n for size, first, n in zip(shape, self.start, self.box.shape, strict=True)]
        first = [ends[s] if flip else self.start[s] for s, flip in zip(order.axes, order.flips, strict=True)]
        return replace(self, start=(first[0], first[1], first[2]), box=order.apply(self.box))


class RefusedSegment(NamedTuple):
    """A segment of the file that cannot be used.

    Attributes:
        number: its number in the file.
        name: its name in the file.
        reason: why, in one line without the file's name.
    """

    number: int
    name: str
    reason: str


@dataclass(frozen=True)
class SegmentMasks:
    """Segments of one file on one grid.

    Attributes:
        segments: in the order of their numbers.
        shape: size of the grid ``[i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.
        source: what the file refers to: ``series_uid``, ``frame_of_reference_uid``, ``sop_instance_uids``.
        warnings: findings that did not prevent reading, one line each.
        refused: segments that are not here because they cannot be used; none unless the reader was told to go on.
        left_out: names of the segments that are not here because they were not wanted.

    Example:
        >>> import numpy as np
        >>> from medseg.io import SegmentInfo, SegmentMasks
        >>> from medseg.io.results.segment_masks import Segment
        >>> liver = Segment(SegmentInfo("liver", number=1), start=(1, 1, 0), box=np.ones((2, 1, 1), bool))
        >>> masks = SegmentMasks((liver,), shape=(4, 3, 2), affine_ras=np.diag([0.7, 0.7, 2.5, 1]))
        >>> masks.label_map()[:, :, 0]
        array([[0, 0, 0],
               [0, 1, 0],
               [0, 1, 0],
               [0, 0, 0]], dtype=uint8)
        >>> round(masks.volume_ml(0), 5)
        0.00245
    """

    segments: tuple[Segment, ...]
    shape: tuple[int, int, int]
    affine_ras: Affine
    source: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    refused: tuple[RefusedSegment, ...] = ()
    left_out: tuple[str, ...] = ()

    def mask(self, index: int) -> NDArray[Any]:
        """The mask ``[i, j, k]`` of ``segments[index]``: bool, or float32 if the file stores fractions."""
        segment = self.segments[index]
        full = np.zeros(self.shape, dtype=segment.box.dtype)
        full[segment.where] = segment.box
        return full

    def volume_ml(self, index: int) -> float:
        """Volume of ``segments[index]`` in millilitres; a voxel of fraction 0.5 counts as half a voxel."""
        return float(self.segments[index].box.sum(dtype=np.float64)) * voxel_volume_ml(self.affine_ras)

    def binary(self, threshold: float | None = None) -> SegmentMasks:
        """The segments as bool: True where fractions are at least ``threshold``.

        Raises:
            DataError: if there are fractions and no threshold is given, or it is not above 0 and at most 1.
        """
        fractional = [segment.info.name for segment in self.segments if segment.is_fractional]
        if fractional and threshold is None:
            raise DataError(f"segments {shorten(fractional)} hold fractions; give the threshold that makes them masks")
        if threshold is not None and not 0 < threshold <= 1:
            raise DataError(f"threshold is {threshold:g}, expected above 0 and at most 1")
        limit = 0.5 if threshold is None else threshold
        segments = tuple(
            segment if segment.box.dtype == np.bool_ else replace(segment, box=segment.box >= np.float32(limit))
            for segment in self.segments
        )
        return replace(self, segments=segments)

    def overlaps(self) -> dict[tuple[int, int], int]:
        """Number of voxels that two segments share, by the pair of their indices, without pairs that share none."""
        found = {}
        for first, second in combinations(range(len(self.segments)), 2):
            count = _shared(self.segments[first], self.segments[second])
            if count:
                found[first, second] = count
        return found

    def label_map(self, threshold: float | None = None) -> NDArray[np.uint8 | np.uint16]:
        """One array ``[i, j, k]`` of segment numbers, 0 where there is no segment.

        Raises:
            DataError: if segments overlap (with the voxel counts), hold fractions and there is no threshold, or have
                numbers that are no label values.
        """
        odd = [index for index, segment in enumerate(self.segments) if not 1 <= segment.info.number <= _LARGEST_LABEL]
        if odd:
            raise DataError(
                f"{self._name(odd[0])} has the number {self.segments[odd[0]].info.number}, expected 1 to "
                f"{_LARGEST_LABEL} in a label map; use single masks"
            )
        masks = self.binary(threshold)
        overlaps = masks.overlaps()
        if overlaps:
            pairs = [f"{self._name(a)} and {self._name(b)} share {n} voxels" for (a, b), n in overlaps.items()]
            raise DataError(f"segments overlap ({shorten(pairs, 4)}), so no label map can hold them; use single masks")
        largest = max((segment.info.number for segment in self.segments), default=0)
        full = np.zeros(self.shape, dtype=np.uint8 if largest < 256 else np.uint16)
        for segment in masks.segments:
            full[segment.where][segment.box] = segment.info.number
        return full

    def layers(self, threshold: float | None = None) -> list[tuple[int, ...]]:
        """Groups of segment indices without overlaps within a group; each segment joins the first group that fits."""
        overlaps = set(self.binary(threshold).overlaps())
        groups: list[list[int]] = []
        for index in range(len(self.segments)):
            free = (group for group in groups if not any((other, index) in overlaps for other in group))
            chosen = next(free, None)
            if chosen is None:
                groups.append([index])
            else:
                chosen.append(index)
        return [tuple(group) for group in groups]

    def reordered(self, order: Reordering, affine_ras: Affine) -> SegmentMasks:
        """All segments after their grid's axes were permuted and reversed; ``affine_ras`` is the new grid's."""
        segments = tuple(segment.reordered(self.shape, order) for segment in self.segments)
        i, j, k = (self.shape[axis] for axis in order.axes)
        return replace(self, segments=segments, shape=(i, j, k), affine_ras=affine_ras)

    def _name(self, index: int) -> str:
        return repr(self.segments[index].info.name)


def segment_from_planes(
    info: SegmentInfo, planes: Mapping[int, PatchMask], dtype: type[np.generic] = np.bool_
) -> Segment:
    """Stack planar patches to one segment.

    Args:
        info: the segment's description.
        planes: patch ``[i, j]`` by slice index ``k``; empty patches are ignored.
        dtype: numpy.bool_, or numpy.float32 for fractions.
    """
    filled = {k: patch for k, patch in planes.items() if patch.mask.any()}
    if not filled:
        return Segment(info, (0, 0, 0), np.zeros((0, 0, 0), dtype=dtype))
    low = np.min([patch.start for patch in filled.values()], axis=0)
    high = np.max([np.add(patch.start, patch.mask.shape) for patch in filled.values()], axis=0)
    first, last = min(filled), max(filled)
    box = np.zeros((*(high - low), last - first + 1), dtype=dtype)
    for k, patch in filled.items():
        x, y = np.subtract(patch.start, low)
        box[x : x + patch.mask.shape[0], y : y + patch.mask.shape[1], k - first] = patch.mask
    return Segment(info, (int(low[0]), int(low[1]), first), box)


def _shared(a: Segment, b: Segment) -> int:
    """Number of voxels above zero in both, counted where the boxes overlap."""
    low = np.maximum(a.start, b.start)
    high = np.minimum(np.add(a.start, a.box.shape), np.add(b.start, b.box.shape))
    if np.any(high <= low):
        return 0
    parts = []
    for segment in (a, b):
        window = tuple(slice(*ends) for ends in zip(low - segment.start, high - segment.start, strict=True))
        parts.append(segment.box[window] > 0)
    return int((parts[0] & parts[1]).sum())
