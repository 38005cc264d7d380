"""What a folder holds: its DICOM files by series, read from headers alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.io.errors import DataError, SeriesChoiceError, shorten

__all__ = ["FolderListing", "SeriesEntry", "SliceHeader", "choose_series", "scan_folder"]

_TAGS = [
    "SOPInstanceUID",
    "SOPClassUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "InstanceNumber",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
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
    "GantryDetectorTilt",
]

# A data set without the 128-byte preamble starts with a low group in little endian: 0002 or 0008 and a small element.
_BARE_GROUPS = (b"\x02\x00", b"\x08\x00")
_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_NOT_PICTURES = frozenset({"SEG", "SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG", "DOC", "AU", "ECG"})


@dataclass(frozen=True)
class SliceHeader:
    """One DICOM file's header.

    Attributes:
        path: the file.
        series_uid: SeriesInstanceUID, "" if empty.
        sop_uid: SOPInstanceUID, taken from the file's meta group where the data set leaves it empty.
        transfer_syntax: UID of the transfer syntax.
        values: the pydicom data set restricted to the tags that are used.
    """

    path: Path
    series_uid: str
    sop_uid: str
    transfer_syntax: str
    values: Any

    def get(self, keyword: str, default: Any = None) -> Any:
        """Value of a tag, or ``default`` where it is absent or empty.

        Raises:
            DataError: if the stored text cannot be read as the tag's type.
        """
        try:
            value = self.values.get(keyword, None)
        except Exception as error:
            raise DataError(f"{self.path}: {keyword} cannot be read ({error}); the header is damaged") from error
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
        except (TypeError, ValueError):
            numbers = ()
        if len(numbers) != count or not all(abs(number) < 1e12 for number in numbers):
            found = "absent" if value is None else repr(value if count == 1 else [str(v) for v in _listed(value)])
            raise DataError(f"{self.path}: {keyword} is {found}, expected {count} finite number(s)")
        return numbers


@dataclass(frozen=True)
class SeriesEntry:
    """The image files of one series, in the order of their paths."""

    uid: str
    modality: str
    description: str
    headers: tuple[SliceHeader, ...]

    def __str__(self) -> str:
        return f"{self.uid or '(empty UID)'} [{self.modality or '?'}, {len(self.headers)} files, {self.description!r}]"


@dataclass(frozen=True)
class FolderListing:
    """All that was found under a folder.

    Attributes:
        folder: where the search began.
        series: image series by UID.
        other_objects: DICOM files that are no images (structured reports, segmentations, DICOMDIR ...).
        ignored: number of files that are not DICOM.
        unreadable: (file, reason) of DICOM files whose header cannot be read.
    """

    folder: Path
    series: tuple[SeriesEntry, ...]
    other_objects: int
    ignored: int
    unreadable: tuple[tuple[Path, str], ...]


def scan_folder(folder: str | Path, files: Iterable[Path] | None = None) -> FolderListing:
    """Read the headers of every DICOM file under a folder (recursive, any file name; links to folders not followed).

    Args:
        folder: where to search.
        files: the only files to look at, instead of all under the folder.

    Raises:
        DataError: if the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected a folder with the DICOM files of a CT series")
    found: dict[str, list[SliceHeader]] = {}
    unreadable: list[tuple[Path, str]] = []
    others = ignored = 0
    for path in sorted(p for p in (folder.rglob("*") if files is None else files) if p.is_file()):
        kind = _dicom_kind(path)
        if kind is None:
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith("._"):  # "._" files are macOS notes
                unreadable.append((path, f"not DICOM inside ({path.stat().st_size} bytes); fetch the file again"))
            else:
                ignored += 1
            continue
        try:
            header = _read_header(path, bare=kind == "bare")
        except Exception as error:
            unreadable.append((path, f"header cannot be read: {_first_line(error)}"))
            continue
        if header is None:
            others += 1
        else:
            found.setdefault(header.series_uid, []).append(header)
    series = tuple(_entry(uid, headers) for uid, headers in sorted(found.items()))
    return FolderListing(folder, series, others, ignored, tuple(unreadable))


def choose_series(listing: FolderListing, series_uid: str | None = None) -> SeriesEntry:
    """The one CT series of a folder, or the one asked for.

    Raises:
        SeriesChoiceError: if there is none, several and no UID, no series of that UID, or it is not CT.
    """
    if series_uid is not None:
        chosen = [entry for entry in listing.series if entry.uid == series_uid]
        if not chosen:
            present = shorten(listing.series) or "no image series"
            raise SeriesChoiceError(f"{listing.folder}: no series {series_uid}; found {present}")
    else:
        chosen = [entry for entry in listing.series if entry.modality == "CT"] or list(listing.series)
        if len(chosen) > 1:
            raise SeriesChoiceError(
                f"{listing.folder}: {len(chosen)} series in one folder, choose one with --series UID: {shorten(chosen)}"
            )
    if not chosen:
        damaged = f", {len(listing.unreadable)} unreadable: {listing.unreadable[0][0]}" if listing.unreadable else ""
        raise SeriesChoiceError(
            f"{listing.folder}: no DICOM images found ({listing.ignored} files are not DICOM, "
            f"{listing.other_objects} are DICOM but not images{damaged}); expected a folder with a CT series"
        )
    if chosen[0].modality != "CT":
        raise SeriesChoiceError(f"{listing.folder}: the series is {chosen[0]}, expected modality CT")
    return chosen[0]


def _dicom_kind(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return "part10"  # let the reader say why
    if start[128:132] == b"DICM":
        return "part10"
    bare = start[:2] in _BARE_GROUPS and len(start) >= 16 and start[2:4] < b"\x40\x00" and start[3] == 0
    return "bare" if bare else None


def _read_header(path: Path, bare: bool) -> SliceHeader | None:
    import pydicom

    with warnings.catch_warnings(), path.open("rb") as stream:
        warnings.simplefilter("ignore")
        values = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS), force=bare)
        at_pixels = stream.tell() < path.stat().st_size
        modality = str(values.get("Modality", "") or "")
        meta = getattr(values, "file_meta", None) or {}
        classes = {str(values.get("SOPClassUID", "")), str(meta.get("MediaStorageSOPClassUID", ""))}
        is_ct = modality == "CT" or bool(classes & set(_image_classes()))
        deflated = str(meta.get("TransferSyntaxUID", "")) == "1.2.840.10008.1.2.1.99"  # inflated whole
        if is_ct and not at_pixels and not deflated:
            # pydicom returns what it has when a file ends early: without this the slice would vanish unnoticed.
            raise ValueError(f"the file of {path.stat().st_size} bytes ends before its pixel data")
        if not is_ct and "Rows" not in values:
            if not modality and not any(pydicom.uid.UID(uid).name != uid for uid in classes):
                raise ValueError(f"no known SOP class in {path.stat().st_size} bytes; the file is cut off or damaged")
            return None
        if modality in _NOT_PICTURES:
            return None
        sop_uid = str(values.get("SOPInstanceUID", "") or meta.get("MediaStorageSOPInstanceUID", "") or "")
        syntax = str(meta.get("TransferSyntaxUID", "") or "1.2.840.10008.1.2")
        return SliceHeader(path, str(values.get("SeriesInstanceUID", "") or ""), sop_uid, syntax, values)


def _image_classes() -> tuple[str, ...]:
    from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

    return (str(CTImageStorage), str(EnhancedCTImageStorage))


def _entry(uid: str, headers: list[SliceHeader]) -> SeriesEntry:
    first = headers[0]
    modality, description = first.get("Modality", ""), first.get("SeriesDescription", "")
    return SeriesEntry(uid, str(modality), str(description), tuple(headers))


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, (str, float, int)) else list(value)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
