"""What readers drew on one LIDC-IDRI scan, in one form for both sources: XML and the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["RATING_RANGES", "Annotation", "Contour", "DamagedMark", "PointMark", "Reading", "rating_warnings"]

RATING_RANGES: Mapping[str, tuple[int, int]] = {
    "subtlety": (1, 5),
    "internalStructure": (1, 4),
    "calcification": (1, 6),
    "sphericity": (1, 5),
    "margin": (1, 5),
    "lobulation": (1, 5),
    "spiculation": (1, 5),
    "texture": (1, 5),
    "malignancy": (1, 5),
}
"""The nine characteristics under the data set's own names, with their lowest and highest score (Armato et al. 2011)."""


@dataclass(frozen=True, eq=False)
class Contour:
    """One closed outline on one slice; it runs through the first pixels *outside* the region.

    Attributes:
        z_mm: position of the slice: z of ImagePositionPatient, LPS mm.
        points: int64 ``(n, 2)``, pixel indices (x = column, y = row).
        inclusion: True if the enclosed pixels belong to the nodule, False if they are excluded from it.

    >>> import numpy as np
    >>> Contour(z_mm=-120.0, points=np.array([[2, 2], [3, 2], [3, 3], [2, 3]])).inclusion
    True
    """

    z_mm: float
    points: NDArray[np.int64]
    inclusion: bool = True


@dataclass(frozen=True, eq=False)
class Annotation:
    """One reader's outlines of one nodule of 3 mm or more.

    Attributes:
        reader: 1-based number of the reading session, 0 where the source does not say.
        nodule_id: the reader's own name for the nodule; different readers use different names.
        ratings: scores by characteristic; empty where the reader gave none.
        contours: all outlines, inclusions and exclusions.

    >>> import numpy as np
    >>> outline = Contour(-120.0, np.array([[2, 2], [3, 2], [3, 3], [2, 3]]))
    >>> Annotation(reader=1, nodule_id="A", ratings={"malignancy": 4}, contours=(outline,)).ratings["malignancy"]
    4
    """

    reader: int
    nodule_id: str
    ratings: Mapping[str, int]
    contours: tuple[Contour, ...]


class DamagedMark(NamedTuple):
    """A reader's mark of a nodule that cannot be used as it is written.

    Attributes:
        reader: 1-based number of the reading session.
        nodule_id: the reader's own name for the nodule, "" if it has none.
        contours: those of its outlines that can be read: they tell which nodule is meant.
        reason: what is wrong, in one line without the file's name.
    """

    reader: int
    nodule_id: str
    contours: tuple[Contour, ...]
    reason: str


@dataclass(frozen=True)
class PointMark:
    """A finding marked by a single point: a nodule below 3 mm or a non-nodule of 3 mm or more.

    Attributes:
        reader: 1-based number of the reading session.
        name: the reader's own name for it.
        kind: "nodule_below_3mm" or "non_nodule".
        x: column index.
        y: row index.
        z_mm: LPS mm.

    >>> PointMark(reader=2, name="7", kind="nodule_below_3mm", x=210, y=305, z_mm=-96.5).kind
    'nodule_below_3mm'
    """

    reader: int
    name: str
    kind: str
    x: int
    y: int
    z_mm: float


@dataclass(frozen=True)
class Reading:
    """All readers' findings on one CT series.

    Attributes:
        series_uid: SeriesInstanceUID of the CT.
        source: "xml" or "database".
        readers: number of reading sessions, 0 where the source does not say.
        annotations: outlined nodules, in the source's order.
        points: findings marked by a point (XML only).
        slice_z_mm: z of every slice of the complete series, ascending (database only).
        slice_thickness_mm: SliceThickness as recorded, not the distance between slices (database only).
        warnings: unusual facts found while reading, one line each.
        damaged: marks of nodules that cannot be used; the nodules that they belong to cannot be joined rightly.

    >>> Reading("1.2.3", source="xml", readers=4, annotations=()).readers
    4
    """

    series_uid: str
    source: str
    readers: int
    annotations: tuple[Annotation, ...]
    points: tuple[PointMark, ...] = ()
    slice_z_mm: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    slice_thickness_mm: float | None = None
    damaged: tuple[DamagedMark, ...] = ()


def rating_warnings(nodule_id: str, ratings: Mapping[str, int]) -> list[str]:
    """One line for every score outside its range; the score itself is kept as recorded."""
    lines = []
    for name, value in ratings.items():
        low, high = RATING_RANGES[name]
        if not low <= value <= high:
            lines.append(f"nodule {nodule_id}: {name} is {value}, outside {low} to {high}; kept as recorded")
    return lines
