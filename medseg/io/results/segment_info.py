"""The description of a segment in DICOM SEG or RTSTRUCT: name, coded meaning, who drew it, colour."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from medseg.io.bounded.errors import DataError, os_reason

__all__ = ["ALGORITHM_TYPES", "PRESETS", "Code", "SegmentInfo", "describe_segments", "preset", "read_segment_names"]

ALGORITHM_TYPES = ("MANUAL", "SEMIAUTOMATIC", "AUTOMATIC")

_MAX_NAME = 64  # characters of a DICOM Long String


class Code(NamedTuple):
    """A coded concept, e.g. ``Code("10200004", "SCT", "Liver")``.

    Attributes:
        value: the code.
        scheme: its coding scheme: "SCT" (SNOMED CT), "DCM" ...
        meaning: its meaning as text.
    """

    value: str
    scheme: str
    meaning: str


_ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_TISSUE = Code("85756007", "SCT", "Tissue")
_LIVER, _LUNG = Code("10200004", "SCT", "Liver"), Code("39607008", "SCT", "Lung")
_NEOPLASM, _NODULE = Code("108369006", "SCT", "Neoplasm"), Code("27925004", "SCT", "Nodule")

_COLOURS = (
    (214, 39, 40),
    (31, 119, 180),
    (44, 160, 44),
    (255, 127, 14),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (188, 189, 34),
    (23, 190, 207),
)


@dataclass(frozen=True)
class SegmentInfo:
    """One segment's description.

    Attributes:
        name: what viewers show (SegmentLabel, ROIName), 1 to 64 characters.
        category: SegmentedPropertyCategory (DICOM CID 7150).
        kind: SegmentedPropertyType (DICOM CID 7151).
        region: anatomic region that the segment lies in, or None.
        color_rgb: display colour, 0 to 255 each, or None.
        algorithm_type: "MANUAL", "SEMIAUTOMATIC" or "AUTOMATIC".
        algorithm_name: name of the program or network; "" only where the segment is manual.
        number: segment or ROI number in the file (0 if there is no file yet).

    Raises:
        DataError: for a name that DICOM cannot hold, an unknown algorithm type or colours outside 0 to 255.

    Example:
        >>> from medseg.io import SegmentInfo
        >>> SegmentInfo("left kidney", color_rgb=(200, 120, 90)).is_uncoded
        True
    """

    name: str
    category: Code = _TISSUE
    kind: Code = _TISSUE
    region: Code | None = None
    color_rgb: tuple[int, int, int] | None = None
    algorithm_type: str = "AUTOMATIC"
    algorithm_name: str = "medseg"
    number: int = 0

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > _MAX_NAME or "\\" in self.name or not self.name.isprintable():
            raise DataError(f"segment name {self.name!r}: expected 1 to {_MAX_NAME} printable characters without \\")
        if self.algorithm_type not in ALGORITHM_TYPES:
            raise DataError(
                f"segment {self.name!r}: algorithm type {self.algorithm_type!r}, expected one of "
                f"{', '.join(ALGORITHM_TYPES)}"
            )
        if self.color_rgb is not None and not all(0 <= value <= 255 for value in self.color_rgb):
            raise DataError(f"segment {self.name!r}: colour {self.color_rgb}, expected three numbers from 0 to 255")

    @property
    def is_uncoded(self) -> bool:
        """True if only the name of the segment is known: category and kind are the general code "Tissue"."""
        return self.category == self.kind == _TISSUE

    def as_json(self) -> dict[str, Any]:
        """The description as plain JSON values, in the form that `read_segment_names` reads."""
        return {
            "name": self.name,
            "category": list(self.category),
            "kind": list(self.kind),
            "region": None if self.region is None else list(self.region),
            "color_rgb": None if self.color_rgb is None else list(self.color_rgb),
            "algorithm_type": self.algorithm_type,
            "algorithm_name": self.algorithm_name,
        }


PRESETS: Mapping[str, SegmentInfo] = {
    "liver": SegmentInfo("liver", _ANATOMY, _LIVER, color_rgb=(221, 130, 101)),
    "liver tumour": SegmentInfo("liver tumour", _ABNORMAL, _NEOPLASM, _LIVER, (214, 39, 40)),
    "lung": SegmentInfo("lung", _ANATOMY, _LUNG, color_rgb=(197, 165, 145)),
    "lung nodule": SegmentInfo("lung nodule", _ABNORMAL, _NODULE, _LUNG, (255, 127, 14)),
}
"""Descriptions known by name, with SNOMED CT codes of DICOM's context groups."""

_SYNONYMS = {
    "tumour": "liver tumour",
    "tumor": "liver tumour",
    "liver tumor": "liver tumour",
    "neoplasm of liver": "liver tumour",
    "nodule": "lung nodule",
    "lungs": "lung",
}


def preset(name: str) -> SegmentInfo:
    """The description of a segment by its name; an unknown name is coded as "Tissue" (see ``is_uncoded``).

    Case, underscores and hyphens do not matter; the name itself is kept as it was given.
    """
    key = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    known = PRESETS.get(_SYNONYMS.get(key, key))
    return SegmentInfo(name) if known is None else replace(known, name=name)


def describe_segments(
    values: Iterable[int], segments: Mapping[int, SegmentInfo | str] | None, where: object = "mask"
) -> dict[int, SegmentInfo]:
    """A description for every label value, in ascending order, with a display colour each.

    Args:
        values: label values that occur in the mask.
        segments: descriptions or names by label value; values that do not occur make empty segments. None names every
            value ``segment N``.
        where: what to name in errors.

    Raises:
        DataError: if a value has no description, a description's value is below 1, or two segments share a name.
    """
    present = sorted(int(value) for value in values if value != 0)
    if segments is None:
        segments = {value: f"segment {value}" for value in present}
    unnamed = [value for value in present if value not in segments]
    if unnamed:
        raise DataError(f"{where}: label value {unnamed[0]} has no name (named: {sorted(segments)}); add it")
    if not segments or min(segments) < 1 or max(segments) > 65535:
        raise DataError(f"{where}: label values to name are {sorted(segments)}, expected at least one, 1 to 65535")
    found: dict[int, SegmentInfo] = {}
    for position, value in enumerate(sorted(segments)):
        given = segments[value]
        info = preset(given) if isinstance(given, str) else given
        color = info.color_rgb or _COLOURS[position % len(_COLOURS)]
        found[value] = replace(info, color_rgb=color, number=value)
    names = [info.name for info in found.values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{where}: two segments are named {twice!r}; give each its own name")
    return found


def read_segment_names(path: str | Path) -> dict[int, SegmentInfo]:
    """Read ``{"1": "liver", "2": {"name": "lesion", "kind": ["108369006", "SCT", "Neoplasm"], ...}}``.

    A value is a name, or an object with ``name`` and any of ``category``, ``kind``, ``region`` (each [code, scheme,
    meaning]), ``color_rgb``, ``algorithm_type``, ``algorithm_name``; what is left out comes from the name. A file with
    an object ``labels`` in it (such as ``dataset.json``) may be given as it is; the name of 0 is ignored.

    Raises:
        DataError: one line naming the file and the entry.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else " ".join(str(error).split())
        raise DataError(f'{path}: no readable JSON ({reason}); expected {{"1": "liver"}}') from None
    if isinstance(content, dict) and isinstance(content.get("labels"), dict):
        content = content["labels"]
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected an object of names by label value")
    found: dict[int, SegmentInfo] = {}
    for key, value in content.items():
        if not str(key).isdigit():
            raise DataError(f"{path}: key {key!r}, expected a label value as a whole number")
        if int(key) != 0:
            found[int(key)] = _parse(value, f"{path}: entry {key!r}")
    return found


def _parse(value: object, where: str) -> SegmentInfo:
    if isinstance(value, str):
        return preset(value)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise DataError(f"{where}: expected a name, or an object with a name")
    fields = {key: item for key, item in value.items() if key != "name" and item is not None}
    changes: dict[str, Any] = {}
    for key, item in fields.items():
        if key in ("category", "kind", "region"):
            changes[key] = _code(item, f"{where}: {key}")
        elif key == "color_rgb":
            changes[key] = _color(item, f"{where}: {key}")
        elif key in ("algorithm_type", "algorithm_name") and isinstance(item, str):
            changes[key] = item
        else:
            raise DataError(f"{where}: {key!r} is {item!r}, which is not a field of a segment or not of its type")
    try:
        return replace(preset(value["name"]), **changes)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _code(item: object, where: str) -> Code:
    if not isinstance(item, list) or len(item) != 3 or not all(isinstance(part, str) and part for part in item):
        raise DataError(f'{where} is {item!r}, expected [code, scheme, meaning] such as ["10200004", "SCT", "Liver"]')
    return Code(*item)


def _color(item: object, where: str) -> tuple[int, int, int]:
    if not isinstance(item, list) or len(item) != 3 or not all(type(part) is int for part in item):
        raise DataError(f"{where} is {item!r}, expected three whole numbers from 0 to 255")
    return item[0], item[1], item[2]
