"""Check a mask before it is written as a DICOM object: whole values, on the source's grid, every value named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.io.bounded.errors import DataError, shorten
from medseg.io.bounded.voxel_data import plain_array
from medseg.io.results.segment_info import SegmentInfo, describe_segments
from medseg.io.results.source import SourceSeries, place_on_source
from medseg.io.volumes.mending import value_fix

__all__ = ["ResultMask", "prepare_mask"]


class ResultMask(NamedTuple):
    """A checked mask in the order of its source series.

    Attributes:
        array: unsigned integers, a label map ``[column, row, slice]`` or stacked masks ``[segment, ...]`` of 0 and 1.
        infos: descriptions by label value, ascending; stacked masks have the values 1, 2, 3 ...
        boxes: bounding box of each label value, for the values 1, 2, 3 ...; None for a value that does not occur.
    """

    array: NDArray[Any]
    infos: dict[int, SegmentInfo]
    boxes: Sequence[tuple[slice, ...] | None]

    @property
    def is_stacked(self) -> bool:
        """True if there is one mask for each segment."""
        return self.array.ndim == 4

    def planes(self, value: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Slices ``(k, mask [column, row])`` on which a label value occurs."""
        box = self.boxes[value - 1] if value <= len(self.boxes) else None
        if box is None:
            return
        labels, wanted = (self.array[value - 1], 1) if self.is_stacked else (self.array, value)
        columns, rows, slices = box
        for k in range(slices.start, slices.stop):
            plane = np.zeros(labels.shape[:2], dtype=bool)
            plane[columns, rows] = labels[columns, rows, k] == wanted
            if plane.any():
                yield k, plane


def prepare_mask(
    mask: ArrayLike, affine_ras: ArrayLike, source: SourceSeries, segments: Mapping[int, SegmentInfo | str] | None
) -> ResultMask:
    """Check a mask, bring it into the order of its source and describe its segments.

    Args:
        mask: label map ``[i, j, k]`` of whole numbers from 0 to 65535, or stacked masks ``[segment, i, j, k]`` of 0, 1.
        affine_ras: 4 x 4, voxel to RAS mm; the axes may run in any order.
        source: the series that the mask belongs to.
        segments: name or description by label value; None names them ``segment N``.

    Raises:
        DataError: for other values, a grid other than the source's (with the difference in mm), or values without a
            name.
    """
    from scipy import ndimage

    placed = place_on_source(_whole(mask), affine_ras, source)
    if placed.ndim == 3:
        boxes = ndimage.find_objects(placed)
        present = [value for value, box in enumerate(boxes, start=1) if box is not None]
        return ResultMask(placed, describe_segments(present, segments), boxes)
    infos = describe_segments(range(1, len(placed) + 1), segments)
    if len(infos) != len(placed):
        raise DataError(f"{len(placed)} stacked masks, but names for {shorten(infos)}; expected 1 to {len(placed)}")
    found = [ndimage.find_objects(segment, 1) for segment in placed]
    return ResultMask(placed, infos, [box[0] if box else None for box in found])


def _whole(mask: ArrayLike) -> NDArray[Any]:
    array = plain_array(mask)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(f"mask has shape {array.shape}, expected [i, j, k] or [segment, i, j, k]")
    if array.dtype.kind not in "buif":
        raise DataError(f"mask has type {array.dtype}, expected whole numbers")
    low, high = float(array.min()), float(array.max())
    limit = 65535 if array.ndim == 3 else 1
    if not (low >= 0 and high <= limit):
        raise DataError(f"mask values run from {low:g} to {high:g}, expected 0 to {limit}")
    whole = array.astype(np.uint8 if high < 256 else np.uint16)
    if array.dtype.kind == "f" and not np.array_equal(whole, array):
        odd = np.unique(array[array != whole])
        shown = ", ".join(f"{value:.6g}" for value in odd[:3])
        raise DataError(f"mask holds fractions ({shown}), expected whole label values; {value_fix(odd, 'SERIES MASK')}")
    return whole
