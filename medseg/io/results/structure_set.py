"""What an RT Structure Set holds: named structures and their contours in patient coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.results.segment_info import SegmentInfo

__all__ = ["Contour", "Roi", "StructureSet"]


class Contour(NamedTuple):
    """One contour of a structure.

    Attributes:
        points_lps: vertices in mm, shape (n, 3).
        kind: ContourGeometricType: CLOSED_PLANAR, CLOSEDPLANAR_XOR, POINT, OPEN_PLANAR ...
        sop_instance_uid: SOPInstanceUID of the image that it refers to, or "".
    """

    points_lps: NDArray[np.float64]
    kind: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Roi:
    """One structure.

    Attributes:
        info: name, colour, code; ``info.number`` is the ROI number.
        frame_of_reference_uid: FrameOfReferenceUID of its coordinates, or "".
        contours: in the order of the file; none for an empty structure.
        fault: why the contours cannot be used, in one line; "" if they can.
    """

    info: SegmentInfo
    frame_of_reference_uid: str
    contours: tuple[Contour, ...]
    fault: str = ""


@dataclass(frozen=True)
class StructureSet:
    """All structures of a file.

    Attributes:
        rois: in the order of their numbers.
        source: ``series_uid``, ``frame_of_reference_uid`` and ``sop_instance_uids`` that the file refers to.
        path: the file.
    """

    rois: tuple[Roi, ...]
    source: dict[str, Any]
    path: Path
