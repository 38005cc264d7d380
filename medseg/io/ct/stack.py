"""The slices of one CT volume, sorted by position along their normal, before any pixel is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.geometry.slice_stack import DUPLICATE_MM, slice_normal, stack_order
from medseg.io.bounded.errors import DataError, SeriesGeometryError
from medseg.io.ct.groups import SeriesEntry
from medseg.io.ct.header import SliceHeader

__all__ = ["SliceStack", "sort_stack"]


@dataclass
class SliceStack:
    """The slices of a volume before they are decoded.

    Attributes:
        headers: sorted by position along the normal; equal positions by InstanceNumber, then by path and frame.
        orientation: six direction cosines.
        pixel_spacing: mm between rows, between columns.
        left_out: files that are not in the volume, with the reason.
    """

    headers: list[SliceHeader]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, ...]
    left_out: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def positions(self) -> NDArray[np.float64]:
        """ImagePositionPatient of every slice, ``(n, 3)`` LPS mm."""
        return np.array([header.numbers("ImagePositionPatient", 3) for header in self.headers])

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal of the slices, LPS."""
        return slice_normal(self.orientation)

    def drop_duplicates(self) -> list[int]:
        """Keep the first slice of each position and put the others into ``left_out``; returns the indices kept."""
        kept: list[int] = []
        last = -np.inf
        for index, position in enumerate(self.positions @ self.normal if self.headers else ()):
            if position - last < DUPLICATE_MM:
                stays = self.headers[kept[-1]].label
                self.left_out.append((self.headers[index].path, f"second slice at {position:.3f} mm; {stays} is kept"))
            else:
                kept.append(index)
                last = float(position)
        self.headers = [self.headers[index] for index in kept]
        return kept


def sort_stack(entry: SeriesEntry) -> SliceStack:
    """Sort the slices of an entry along their common normal.

    Raises:
        DataError: if a slice lacks its position, orientation, size or spacing.
        SeriesGeometryError: if the direction cosines are not two orthogonal unit vectors.
    """
    for header in entry.headers:
        for keyword, count in (("ImageOrientationPatient", 6), ("PixelSpacing", 2), ("Rows", 1), ("Columns", 1)):
            header.numbers(keyword, count)
    first = entry.headers[0]
    orientation, spacing = first.numbers("ImageOrientationPatient", 6), first.numbers("PixelSpacing", 2)
    if min(spacing) <= 0:
        raise DataError(f"{first.path}: PixelSpacing is {list(spacing)}, expected two positive numbers")
    try:
        normal = slice_normal(orientation)
    except ValueError as error:
        raise SeriesGeometryError(f"{first.path}: {error}") from None
    headers = sorted(entry.headers, key=lambda h: (h.integer("InstanceNumber", 0), h.path, h.frame))
    positions = np.array([header.numbers("ImagePositionPatient", 3) for header in headers])
    return SliceStack([headers[i] for i in stack_order(positions, normal)], orientation, spacing)
