"""The header of one DICOM slice: the few tags that are used, with every value checked where it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.io.bounded.dicom_stream import DEFLATED, open_dicom
from medseg.io.bounded.errors import DataError
from medseg.io.privacy.names import shown, shown_reason

__all__ = ["CT_CLASSES", "Damaged", "SliceHeader", "has_long_number", "plain_value", "read_header"]

CT_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "2.1", "2.2"))
"""SOP classes of CT images: one slice a file, enhanced (multi-frame), and enhanced by conversion."""

_TAGS = [
    "SOPInstanceUID",
    "SOPClassUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesDescription",
    "InstanceNumber",
    "AcquisitionNumber",
    "ImageType",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
    "NominalCardiacTriggerDelayTime",
    "NominalRespiratoryTriggerDelayTime",
    "FrameReferenceTime",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "ContentTime",
    "NumberOfSeriesRelatedInstances",
    "ImagesInAcquisition",
    "ConcatenationUID",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ConvolutionKernel",
    "KVP",
    "BodyPartExamined",
    "BurnedInAnnotation",
    "LossyImageCompression",
    "GantryDetectorTilt",
]


_SEQUENCES = frozenset({"SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"})
_GEOMETRY = frozenset({"ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"})


@dataclass(frozen=True)
class Damaged:
    """Marks a value that cannot be read as the type of its tag, with the reason."""

    reason: str


@dataclass(frozen=True)
class SliceHeader:
    """The header of one slice: a single-frame file, or one frame of a multi-frame file.

    Attributes:
        path: the file.
        series_uid: SeriesInstanceUID, "" if empty.
        sop_uid: SOPInstanceUID, taken from the file's meta group where the data set leaves it empty.
        transfer_syntax: UID of the transfer syntax.
        values: the tags that are used, by keyword, as plain numbers, texts and tuples; see `plain_value`.
        frame: number of the frame in its file, from 1; 0 for a file that is one slice.
        data_bytes: bytes of the file from its pixel data element to its end; -1 where that is unknown.
        long_numbers: whether a position or spacing is written with more than the 16 characters that DICOM allows.
        contradictions: geometry of a frame that its file states twice and differently, one line each.
        frame_fault: why the frames of a multi-frame file cannot be placed, one line; "" for every other header.
    """

    path: Path
    series_uid: str
    sop_uid: str
    transfer_syntax: str
    values: Mapping[str, Any]
    frame: int = 0
    data_bytes: int = -1
    long_numbers: bool = False
    contradictions: tuple[str, ...] = ()
    frame_fault: str = ""

    @property
    def label(self) -> str:
        """Name of the file, and of the frame in it."""
        return f"{self.path.name} frame {self.frame}" if self.frame else self.path.name

    def get(self, keyword: str, default: Any = None) -> Any:
        """Value of a tag, or ``default`` where it is absent or empty.

        Raises:
            DataError: if the stored text cannot be read as the tag's type.
        """
        value = self.values.get(keyword)
        if isinstance(value, Damaged):
            raise DataError(f"{self.path}: {keyword} cannot be read ({value.reason}); the header is damaged")
        return default if value is None or (isinstance(value, str) and not value.strip()) else value

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """A tag of exactly ``count`` finite numbers.

        Raises:
            DataError: if it is absent or holds something else.
        """
        value = self.get(keyword)
        try:
            items = [value] if count == 1 else list(value)
            numbers = tuple(float(item) for item in items)
        except (TypeError, ValueError, OverflowError):
            numbers = ()
        if len(numbers) != count or not all(abs(number) < 1e12 for number in numbers):
            found = "absent" if value is None else shown(value if count == 1 else [str(v) for v in _listed(value)], 200)
            raise DataError(f"{self.path}: {keyword} is {found}, expected {count} finite number(s)")
        return numbers

    def integer(self, keyword: str, default: int) -> int:
        """A tag of one whole number, or ``default`` where it is absent or empty.

        Raises:
            DataError: if it holds something else.
        """
        if self.get(keyword) is None:
            return default
        number = self.numbers(keyword, 1)[0]
        if number != int(number):
            raise DataError(f"{self.path}: {keyword} is {number:g}, expected a whole number")
        return int(number)

    def text(self, keyword: str) -> str:
        """A tag as one text, "" where it is absent or damaged; several values are joined by a backslash."""
        try:
            value = self.get(keyword, "")
        except DataError:
            return ""
        return value if isinstance(value, str) else "\\".join(str(part) for part in _listed(value))


def read_header(path: Path, bare: bool) -> SliceHeader:
    """Read the tags of one DICOM file that medseg uses; pixel data are not read.

    pydicom warns of odd values and quotes them: the caller silences that.

    Args:
        path: the file.
        bare: whether the file lacks the preamble and the letters DICM.

    Raises:
        ValueError: if the file ends too early, or does not hold a data set of a known class.
        Exception: whatever pydicom raises for damaged headers.
    """
    import pydicom

    with open_dicom(path) as opened:
        data = pydicom.dcmread(opened.stream, stop_before_pixels=True, specific_tags=list(_TAGS), force=bare)
        data_bytes = opened.size - opened.stream.tell()
        values, long_numbers = _plain_values(data)
        modality = _text(values.get("Modality"))
        meta = getattr(data, "file_meta", None) or {}
        classes = {_text(values.get("SOPClassUID")), str(meta.get("MediaStorageSOPClassUID", ""))}
        is_ct = modality == "CT" or bool(classes & CT_CLASSES)
        if is_ct and data_bytes <= 0:
            # pydicom returns what it has when a file ends early: without this the slice would vanish unnoticed.
            raise ValueError(f"the file of {path.stat().st_size} bytes ends before its pixel data")
        known = bool(modality) or any(pydicom.uid.UID(uid).name != uid for uid in classes)
        if not is_ct and "Rows" not in values and not known:
            raise ValueError(f"no known SOP class in {path.stat().st_size} bytes; the file is cut off or damaged")
        sop_uid = _text(values.get("SOPInstanceUID")) or str(meta.get("MediaStorageSOPInstanceUID", "") or "")
        if "SOPClassUID" not in values and meta.get("MediaStorageSOPClassUID"):
            values["SOPClassUID"] = str(meta.get("MediaStorageSOPClassUID"))
        syntax = DEFLATED if opened.deflated else str(meta.get("TransferSyntaxUID", "") or "1.2.840.10008.1.2")
        series_uid = _text(values.get("SeriesInstanceUID"))
        after = -1 if opened.deflated else data_bytes
        return SliceHeader(path, series_uid, sop_uid, syntax, values, 0, after, long_numbers)


def plain_value(value: Any) -> Any:
    """A pydicom value as a plain number, text or tuple: a header takes a fifth of the memory, and pickles.

    Sequences of the functional groups are kept as they are.
    """
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    if hasattr(value, "__iter__") and not isinstance(value, (bytes, bytearray)):
        return tuple(plain_value(item) for item in value)
    return value


def has_long_number(value: Any) -> bool:
    """True if a decimal string, as pydicom read it, or one of several has more than 16 characters."""
    return any(len(str(getattr(item, "original_string", ""))) > 16 for item in _listed(value))


def _plain_values(data: Any) -> tuple[dict[str, Any], bool]:
    from pydicom.datadict import keyword_for_tag

    values: dict[str, Any] = {}
    long_numbers = False
    for tag in list(data.keys()):  # iterating the data set itself converts, and stops at a damaged value
        keyword = keyword_for_tag(tag)
        try:
            value = data[tag].value
        except Exception as error:  # reported when the value is needed
            values[keyword] = Damaged(shown_reason(error, getattr(data.get_item(tag), "value", None)))
            continue
        long_numbers = long_numbers or (keyword in _GEOMETRY and has_long_number(value))
        if value is not None:
            values[keyword] = value if keyword in _SEQUENCES else plain_value(value)
    return values, long_numbers


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, (str, bytes, float, int)) or not hasattr(value, "__iter__") else list(value)
