"""Read the segment descriptions in the header of a DICOM SEG into plain values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.io.bounded.errors import DataError
from medseg.io.results.segment_info import ALGORITHM_TYPES, Code, SegmentInfo

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["cielab_from_rgb", "clean_name", "read_code", "rgb_from_cielab", "segment_infos"]

_BACKGROUND = ("125040", "DCM")


def segment_infos(data: Dataset, where: Path) -> tuple[dict[int, SegmentInfo], set[int]]:
    """Descriptions by segment number, and the numbers that mean background (label maps only).

    Raises:
        DataError: if there is no description, or two have one number.
    """
    infos: dict[int, SegmentInfo] = {}
    background: set[int] = set()
    for item in data.get("SegmentSequence") or []:
        number = int(item.get("SegmentNumber", -1))
        if number in infos or number in background or not 0 <= number <= 65535:
            raise DataError(f"{where}: segment number {number} twice or out of range, expected 0 to 65535 once each")
        kind = read_code(item, "SegmentedPropertyTypeCodeSequence")
        if number == 0 or (kind is not None and kind[:2] == _BACKGROUND):
            background.add(number)
        else:
            infos[number] = _info(item, number, kind)
    if not infos:
        raise DataError(f"{where}: no segment is described, expected SegmentSequence with at least one")
    return infos, background


def _info(item: Dataset, number: int, kind: Code | None) -> SegmentInfo:
    unknown = Code("", "", "")
    algorithm = str(item.get("SegmentAlgorithmType", "") or "")
    return SegmentInfo(
        name=clean_name(item.get("SegmentLabel"), f"segment {number}"),
        category=read_code(item, "SegmentedPropertyCategoryCodeSequence") or unknown,
        kind=kind or unknown,
        region=read_code(item, "AnatomicRegionSequence"),
        color_rgb=rgb_from_cielab(item.get("RecommendedDisplayCIELabValue")),
        algorithm_type=algorithm if algorithm in ALGORITHM_TYPES else "AUTOMATIC",
        algorithm_name=clean_name(item.get("SegmentAlgorithmName"), ""),
        number=number,
    )


def clean_name(value: object, otherwise: str) -> str:
    """A name of at most 64 printable characters, or ``otherwise`` if nothing is left."""
    text = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in str(value or ""))
    return " ".join(text.split())[:64].strip() or otherwise


def read_code(item: Dataset, keyword: str) -> Code | None:
    """The first code of a code sequence, or None."""
    sequence = item.get(keyword)
    if not sequence:
        return None
    values = (sequence[0].get(name) for name in ("CodeValue", "LongCodeValue", "URNCodeValue"))
    code = next((str(value) for value in values if value), "")
    first = sequence[0]
    return Code(code, str(first.get("CodingSchemeDesignator", "") or ""), str(first.get("CodeMeaning", "") or ""))


def rgb_from_cielab(value: Any) -> tuple[int, int, int] | None:
    """sRGB of a stored CIELab colour (three unsigned 16-bit numbers, PS3.3 C.10.7.1.1), or None if there is none."""
    from skimage.color import lab2rgb

    if value is None or len(value) != 3:
        return None
    stored = np.array([float(part) for part in value]) / 65535
    lab = stored * (100, 255, 255) - (0, 128, 128)
    red, green, blue = np.rint(lab2rgb(lab) * 255).astype(int).tolist()
    return red, green, blue


def cielab_from_rgb(color: tuple[int, int, int]) -> tuple[float, float, float]:
    """CIELab (L 0 to 100, a and b -128 to 127) of an sRGB colour."""
    from skimage.color import rgb2lab

    lightness, a, b = rgb2lab(np.array(color) / 255).tolist()
    return lightness, a, b
