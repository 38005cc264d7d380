"""The files of one SeriesInstanceUID told apart: volumes of different grids, localizers, captures, other modalities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medseg.geometry.slice_stack import DUPLICATE_MM, slice_normal
from medseg.io.dicom_header import CT_CLASSES, SliceHeader
from medseg.io.errors import DataError

__all__ = ["ORIENTATION_TOLERANCE", "PIXEL_SPACING_TOLERANCE_MM", "SeriesEntry", "group_series", "series_kind"]

ORIENTATION_TOLERANCE = 1e-3
"""Direction cosines that differ by no more belong to one volume."""

PIXEL_SPACING_TOLERANCE_MM = 1e-4
"""Pixel spacings that differ by no more belong to one volume."""

_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
_NO_IMAGES = frozenset({"SEG", "SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG", "DOC", "AU", "ECG"})


@dataclass(frozen=True)
class SeriesEntry:
    """Slices of one series that share one grid, in the order of their paths.

    Attributes:
        uid: SeriesInstanceUID.
        modality: Modality of the first slice.
        description: SeriesDescription: free text that can name the patient, so it is never printed unasked.
        headers: one header for each slice.
        group: number of this part of the series from 1, or 0 where the series has one grid only.
        kind: "ct", "localizer", "secondary capture", "other modality", or "object" (no image).
    """

    uid: str
    modality: str
    description: str
    headers: tuple[SliceHeader, ...]
    group: int = 0
    kind: str = "ct"

    @property
    def name(self) -> str:
        """By what ``--series`` chooses it: the UID, followed by ``#N`` where the UID holds several grids."""
        return f"{self.uid}#{self.group}" if self.group else self.uid

    @property
    def file_count(self) -> int:
        """Number of files; fewer than slices where a file holds several frames."""
        return len({header.path for header in self.headers})

    def __str__(self) -> str:
        parts = [self.modality or "?", f"{self.file_count} files"]
        if len(self.headers) > self.file_count:
            parts.append(f"{len(self.headers)} frames")
        if self.kind in ("localizer", "secondary capture"):
            parts.append(self.kind)
        size = _size(self.headers[0])
        if size:
            parts.append(f"{size[1]} x {size[0]} pixels")
        return f"{self.name or '(empty UID)'} [{', '.join(parts)}]"


def series_kind(header: SliceHeader) -> str:
    """What sort of picture a header announces; see `SeriesEntry`."""
    modality = header.text("Modality").strip()
    sop_class = header.text("SOPClassUID")
    is_ct = modality == "CT" or sop_class in CT_CLASSES
    if modality in _NO_IMAGES or ("Rows" not in header.values and not is_ct):
        return "object"
    if sop_class == _CAPTURE_CLASS or sop_class.startswith(f"{_CAPTURE_CLASS}."):
        return "secondary capture"
    if modality != "CT":
        return "other modality"
    return "localizer" if {"LOCALIZER", "SCOUT"} & set(header.text("ImageType").upper().split("\\")) else "ct"


class _Grid(NamedTuple):
    labels: tuple[str, ...]
    size: tuple[int, ...]
    numbers: tuple[float, ...]
    tolerances: tuple[float, ...]

    def same(self, other: _Grid) -> bool:
        if self.labels != other.labels or self.size != other.size or len(self.numbers) != len(other.numbers):
            return False
        triples = zip(self.numbers, other.numbers, self.tolerances, strict=True)
        return all(abs(a - b) <= tolerance for a, b, tolerance in triples)


def group_series(uid: str, headers: Sequence[SliceHeader]) -> list[SeriesEntry]:
    """Part the slices of a UID by kind, modality, stack, orientation, size and pixel spacing.

    Where positions repeat within such a part and the acquisition numbers tell the repetitions apart, each acquisition
    becomes a part of its own. Parts are numbered by first appearance.
    """
    groups: list[tuple[_Grid, list[SliceHeader]]] = []
    known: dict[_Grid, list[SliceHeader]] = {}
    for header in headers:
        grid = _grid(header)
        members = known.get(grid)
        if members is None:
            members = next((found for first, found in groups if first.same(grid)), None)
            if members is None:
                members = []
                groups.append((grid, members))
            known[grid] = members
        members.append(header)
    parts = [(grid, part) for grid, found in groups for part in _by_acquisition(found)]
    numbers: Iterable[int] = range(1, len(parts) + 1) if len(parts) > 1 else [0]
    return [
        SeriesEntry(uid, part[0].text("Modality"), part[0].text("SeriesDescription"), tuple(part), number, kind)
        for number, ((kind, *_), part) in zip(numbers, ((grid.labels, part) for grid, part in parts), strict=True)
    ]


def _grid(header: SliceHeader) -> _Grid:
    kind = series_kind(header)
    labels = (kind, header.text("Modality"), header.text("StackID") if header.frame else "")
    if kind == "object":
        return _Grid(labels, (), (), ())
    numbers: list[float] = []
    tolerances: list[float] = []
    for keyword, count, tolerance in (
        ("ImageOrientationPatient", 6, ORIENTATION_TOLERANCE),
        ("PixelSpacing", 2, PIXEL_SPACING_TOLERANCE_MM),
    ):
        found = _numbers_or_none(header, keyword, count)
        numbers += found
        tolerances += [tolerance] * len(found)
    return _Grid(labels, _size(header), tuple(numbers), tuple(tolerances))


def _numbers_or_none(header: SliceHeader, keyword: str, count: int) -> tuple[float, ...]:
    try:
        return header.numbers(keyword, count)
    except DataError:
        return ()


def _size(header: SliceHeader) -> tuple[int, ...]:
    rows, columns = (_numbers_or_none(header, keyword, 1) for keyword in ("Rows", "Columns"))
    return (int(rows[0]), int(columns[0])) if rows and columns else ()


def _by_acquisition(headers: list[SliceHeader]) -> list[list[SliceHeader]]:
    """The slices by AcquisitionNumber, if that resolves slices at equal positions; otherwise all in one list."""
    parts: dict[str, list[SliceHeader]] = {}
    for header in headers:
        parts.setdefault(header.text("AcquisitionNumber"), []).append(header)
    if len(parts) < 2 or "" in parts or not _repeats(headers):
        return [headers]
    return [headers] if any(_repeats(part) for part in parts.values()) else list(parts.values())


def _repeats(headers: Sequence[SliceHeader]) -> bool:
    try:
        normal = slice_normal(headers[0].numbers("ImageOrientationPatient", 6))
        positions = np.array([header.numbers("ImagePositionPatient", 3) for header in headers])
    except ValueError:  # also DataError: whoever reads the series says what is wrong
        return False
    return bool((np.diff(np.sort(positions @ normal)) < DUPLICATE_MM).any())
