"""Frames of a multi-frame (enhanced) CT as slice headers: position, orientation, spacing and rescaling of each frame.

Functional groups: DICOM PS3.3 C.7.6.16. A value in the frame's own groups has priority over the shared groups, and
these over the top level of the data set. Where two of them state the geometry differently, the header says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medseg.io.bounded.errors import DataError
from medseg.io.ct.header import CT_CLASSES, SliceHeader, has_long_number, plain_value
from medseg.io.privacy.names import shown, shown_reason

__all__ = ["expand_frames", "is_multi_frame"]

# Functional group -> tags that are taken from its single item.
_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": (
        *("StackID", "InStackPositionNumber", "FrameAcquisitionNumber"),
        *("TemporalPositionIndex", "FrameAcquisitionDateTime"),
    ),
    "CardiacSynchronizationSequence": ("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime"),
    "RespiratorySynchronizationSequence": (
        "NominalPercentageOfRespiratoryPhase",
        "NominalRespiratoryTriggerDelayTime",
    ),
    "CTImageFrameTypeSequence": ("FrameType",),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CTXRayDetailsSequence": ("KVP",),
    "CTAcquisitionDetailsSequence": ("GantryDetectorTilt",),
}
_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_ENHANCED = CT_CLASSES - {"1.2.840.10008.5.1.4.1.1.2"}
_NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_LENGTHS = ("ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
_GEOMETRY = ("ImagePositionPatient", *_LENGTHS)
_TOLERANCE = 1e-4  # of cosines, and of mm


def is_multi_frame(header: SliceHeader) -> bool:
    """True for a file of several frames, or of an enhanced CT class."""
    return header.frame == 0 and (
        header.integer("NumberOfFrames", 1) > 1 or str(header.get("SOPClassUID", "")) in _ENHANCED
    )


def expand_frames(header: SliceHeader) -> list[SliceHeader]:
    """One header for each frame of a multi-frame file, in stored order.

    Args:
        header: header of a multi-frame file.

    Returns:
        Headers with ``frame`` from 1, with the tags of the functional groups at the top level.

    Raises:
        DataError: if the number of frames and of their functional groups differ, or geometry is absent.
    """
    count = header.integer("NumberOfFrames", 1)
    shared, groups = _items(header, _SHARED), _items(header, _PER_FRAME)
    if not groups:
        raise DataError(
            f"{header.path}: multi-frame image ({count} frames) without functional groups, so the position of its "
            "frames is unknown; expected an enhanced CT or one slice a file"
        )
    if len(groups) != count or len(shared) > 1:
        raise DataError(
            f"{header.path}: multi-frame image ({count} frames) with {len(groups)} items of per-frame groups and "
            f"{len(shared)} of shared groups, expected {count} and at most 1; the header is damaged"
        )
    common = {keyword: value for keyword, value in header.values.items() if keyword not in (_SHARED, _PER_FRAME)}
    common_long = header.long_numbers
    top = dict(common)
    for item in shared:
        common_long = _take_groups(header, item, common) or common_long
    general = _contradictions(top, common, "at the top level", "in the shared groups", _LENGTHS)
    frames = []
    for number, item in enumerate(groups, 1):
        values = dict(common)
        long_numbers = _take_groups(header, item, values) or common_long
        for keyword in _NEEDED:
            if keyword not in values:
                raise DataError(
                    f"{header.path}: multi-frame image ({count} frames) whose frame {number} has no {keyword}; "
                    "expected it in the functional groups"
                )
        if "FrameType" in values:
            values["ImageType"] = values["FrameType"]
        if "FrameAcquisitionNumber" in values:
            values["AcquisitionNumber"] = values["FrameAcquisitionNumber"]
        values["InstanceNumber"] = number
        place = "in the shared groups" if shared else "at the top level"
        own = _contradictions(common, values, place, "in the frame's own groups", _GEOMETRY)
        contradictions = (*general, *own)
        frames.append(
            replace(header, values=values, frame=number, long_numbers=long_numbers, contradictions=contradictions)
        )
    return frames


def _contradictions(
    before: Mapping[str, Any], after: Mapping[str, Any], place: str, own: str, keywords: Sequence[str]
) -> tuple[str, ...]:
    """One line for each length or direction that a later group replaced by another value."""
    lines = []
    for keyword in keywords:
        old, new = before.get(keyword), after.get(keyword)
        if old is not None and new is not None and not _same(old, new):
            lines.append(f"{keyword} is {_figures(old)} {place} and {_figures(new)} {own}, which are used")
    return tuple(lines)


def _same(old: Any, new: Any) -> bool:
    first, second = _parts(old), _parts(new)
    try:
        return len(first) == len(second) and all(
            abs(float(a) - float(b)) <= _TOLERANCE for a, b in zip(first, second, strict=True)
        )
    except (TypeError, ValueError):
        return False


def _figures(value: Any) -> str:
    parts = [f"{item:g}" if isinstance(item, (int, float)) else shown(item) for item in _parts(value)]
    return " x ".join(parts)


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _items(header: SliceHeader, keyword: str) -> list[Any]:
    value = header.get(keyword)
    try:
        return [] if value is None else list(value)
    except TypeError:
        raise DataError(f"{header.path}: {keyword} is not a sequence; the header is damaged") from None


def _take_groups(header: SliceHeader, item: Any, target: dict[str, Any]) -> bool:
    """Put the tags of an item's functional groups into the target; returns whether a number of them is too long."""
    long_numbers = False
    for name, keywords in _GROUPS.items():
        try:
            inner = item.get(name)
            found = list(inner) if inner is not None else []
            if len(found) > 1:
                raise ValueError(f"it has {len(found)} items, expected one")
            for part in found:
                for keyword in keywords:
                    if keyword in part:
                        value = part[keyword].value
                        long_numbers = long_numbers or has_long_number(value)
                        target[keyword] = plain_value(value)
        except Exception as error:  # whatever a damaged sequence makes the parser raise
            raise DataError(
                f"{header.path}: {name} cannot be read ({shown_reason(error)}); the frames cannot be placed"
            ) from error
    return long_numbers
