"""Split the files of one SeriesInstanceUID: volumes of different grids, localizers, captures, other modalities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.bounded.errors import DataError
from medseg.io.ct.counts import Lacking, find_lacking
from medseg.io.ct.header import CT_CLASSES, SliceHeader
from medseg.io.ct.phases import split_by_phase
from medseg.io.privacy.names import shown_term, shown_uid

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
        description: SeriesDescription: free text that can name the patient, so it is printed only on request.
        headers: one header for each slice.
        group: number of this part of the series from 1, or 0 where the series has one grid only.
        kind: "ct", "localizer", "secondary capture", "other modality", or "object" (no image).
        told_by: what tells these slices apart from others at the same positions, such as "TriggerTime 400", or "".
        lacking: where the headers of the whole UID count more slices than there are (CT volumes only).
    """

    uid: str
    modality: str
    description: str
    headers: tuple[SliceHeader, ...]
    group: int = 0
    kind: str = "ct"
    told_by: str = ""
    lacking: tuple[Lacking, ...] = ()

    @property
    def name(self) -> str:
        """The text by which ``--series`` chooses it: the UID, followed by ``#N`` where the UID holds several grids."""
        return f"{self.uid}#{self.group}" if self.group else self.uid

    @property
    def file_count(self) -> int:
        """Number of files; fewer than slices where a file holds several frames."""
        return len({header.path for header in self.headers})

    def __str__(self) -> str:
        parts = [shown_term(self.modality) or "?", f"{self.file_count} files"]
        if len(self.headers) > self.file_count:
            parts.append(f"{len(self.headers)} frames")
        if self.kind in ("localizer", "secondary capture"):
            parts.append(self.kind)
        if self.told_by:
            parts.append(self.told_by)
        size = _size(self.headers[0])
        if size:
            parts.append(f"{size[1]} x {size[0]} pixels")
        return f"{shown_uid(self.name) or '(empty UID)'} [{', '.join(parts)}]"


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
    """What slices of one volume share; ``numbers`` are orientation and pixel spacing in units of their tolerances."""

    kind: str
    modality: str
    stack: str
    size: tuple[int, ...]
    numbers: tuple[float, ...]


class _Groups:
    """Slices by grid: a slice joins the first group from whose first slice no number differs by more than 1."""

    def __init__(self) -> None:
        self.groups: list[tuple[_Grid, list[SliceHeader]]] = []
        self._exact: dict[_Grid, list[SliceHeader]] = {}
        self._tables: dict[tuple[object, ...], tuple[NDArray[np.float64], list[list[SliceHeader]]]] = {}

    def add(self, header: SliceHeader) -> None:
        grid = _grid(header)
        if grid not in self._exact:
            self._exact[grid] = self._near(grid)
        self._exact[grid].append(header)

    def _near(self, grid: _Grid) -> list[SliceHeader]:
        """The members of the group that a grid not seen before belongs to, maybe a new one."""
        key = (*grid[:-1], len(grid.numbers))
        table, members = self._tables.get(key, (np.empty((4, len(grid.numbers))), []))
        near = np.flatnonzero((np.abs(table[: len(members)] - grid.numbers) <= 1).all(axis=1))
        if len(near):
            return members[int(near[0])]
        if len(members) == len(table):
            table = np.concatenate([table, np.empty_like(table)])
        table[len(members)] = grid.numbers
        members.append([])
        self._tables[key] = (table, members)
        self.groups.append((grid, members[-1]))
        return members[-1]


def group_series(uid: str, headers: Sequence[SliceHeader]) -> list[SeriesEntry]:
    """Split the slices of a UID by kind, modality, stack, orientation, size and pixel spacing.

    Where positions repeat within such a part and a tag of time, phase, acquisition or reconstruction tells the
    repetitions apart, each set becomes a part of its own (see `medseg.io.ct.phases.split_by_phase`). Parts are numbered
    by first appearance.
    """
    grids = _Groups()
    for header in headers:
        grids.add(header)
    lacking = find_lacking(headers)
    parts = [(grid, part) for grid, found in grids.groups for part in split_by_phase(found)]
    numbers: Iterable[int] = range(1, len(parts) + 1) if len(parts) > 1 else [0]
    return [
        SeriesEntry(
            uid,
            part.headers[0].text("Modality"),
            part.headers[0].text("SeriesDescription"),
            tuple(part.headers),
            number,
            grid.kind,
            part.told_by,
            lacking if grid.kind == "ct" else (),
        )
        for number, (grid, part) in zip(numbers, parts, strict=True)
    ]


def _grid(header: SliceHeader) -> _Grid:
    kind = series_kind(header)
    if kind == "object":
        return _Grid(kind, header.text("Modality"), "", (), ())
    orientation = _numbers_or_none(header, "ImageOrientationPatient", 6)
    spacing = _numbers_or_none(header, "PixelSpacing", 2)
    numbers = [value / ORIENTATION_TOLERANCE for value in orientation]
    numbers += [value / PIXEL_SPACING_TOLERANCE_MM for value in spacing]
    stack = header.text("StackID") if header.frame else ""
    return _Grid(kind, header.text("Modality"), stack, _size(header), tuple(numbers))


def _numbers_or_none(header: SliceHeader, keyword: str, count: int) -> tuple[float, ...]:
    try:
        return header.numbers(keyword, count)
    except DataError:
        return ()


def _size(header: SliceHeader) -> tuple[int, ...]:
    rows, columns = (_numbers_or_none(header, keyword, 1) for keyword in ("Rows", "Columns"))
    return (int(rows[0]), int(columns[0])) if rows and columns else ()
