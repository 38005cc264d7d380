"""List the DICOM files of a folder by series; only headers are read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from medseg.io.bounded.errors import DataError, SeriesChoiceError, SeriesGeometryError, os_reason, shorten
from medseg.io.ct.enhanced import expand_frames, is_multi_frame
from medseg.io.ct.groups import SeriesEntry, group_series, series_kind
from medseg.io.ct.header import SliceHeader, read_header
from medseg.io.privacy.names import shown, shown_reason, shown_uid

__all__ = ["SeriesEntry", "SeriesListing", "SliceHeader", "choose_series", "list_series"]

# A data set without the 128-byte preamble starts with a low group in little endian: 0002 or 0008 and a small element.
_BARE_GROUPS = (b"\x02\x00", b"\x08\x00")
_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})


@dataclass(frozen=True)
class SeriesListing:
    """What was found under a folder.

    Attributes:
        folder: where the search began.
        series: image series by UID; a UID with several grids gives several entries.
        other_objects: number of DICOM files that are not images (structured reports, segmentations, DICOMDIR ...).
        ignored: number of files that are not DICOM.
        unreadable: (file, reason) of DICOM files whose header cannot be read.
        objects: the files counted by ``other_objects``, by series.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import list_series
        >>> affine = np.diag([0.7, 0.7, 2.5, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(folder, np.full((4, 3, 2), 40), affine, patient_id="P1", series_description="water")
        ...     listing = list_series(folder)
        >>> len(listing.series), listing.ignored, listing.unreadable
        (1, 0, ())
        >>> listing.series[0].kind, listing.series[0].file_count
        ('ct', 2)
    """

    folder: Path
    series: tuple[SeriesEntry, ...]
    other_objects: int
    ignored: int
    unreadable: tuple[tuple[Path, str], ...]
    objects: tuple[SeriesEntry, ...] = ()


def list_series(folder: str | Path, files: Iterable[Path] | None = None) -> SeriesListing:
    """Read the headers of every DICOM file under a folder (recursive, any file name; links to folders not followed).

    Args:
        folder: where to search.
        files: the only files to look at, instead of all under the folder.

    Raises:
        DataError: if the folder does not exist.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import list_series
        >>> affine = np.diag([0.7, 0.7, 2.5, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(folder, np.full((4, 3, 2), 40), affine, patient_id="P1", series_description="water")
        ...     listing = list_series(folder)
        >>> [(series.modality, series.kind, len(series.headers)) for series in listing.series]
        [('CT', 'ct', 2)]
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected a folder with the DICOM files of a CT series")
    images: dict[str, list[SliceHeader]] = {}
    objects: dict[str, list[SliceHeader]] = {}
    unreadable: list[tuple[Path, str]] = []
    ignored = 0
    for path in sorted(p for p in (_files_under(folder, unreadable) if files is None else files) if p.is_file()):
        kind = _dicom_kind(path)
        if kind is None:
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith("._"):  # "._" files are macOS notes
                unreadable.append((path, f"not DICOM inside ({path.stat().st_size} bytes); fetch the file again"))
            else:
                ignored += 1
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = read_header(path, bare=kind == "bare")
                is_object = series_kind(header) == "object"
                slices = [header] if is_object else _slices(header)
        except Exception as error:  # whatever a damaged header makes the parser raise
            if isinstance(error, OSError) and error.errno:
                unreadable.append((path, os_reason(error, advice=True)))
            else:
                unreadable.append((path, f"header cannot be read: {shown_reason(error)}"))
            continue
        (objects if is_object else images).setdefault(header.series_uid, []).extend(slices)
    return SeriesListing(
        folder,
        tuple(entry for uid, headers in sorted(images.items()) for entry in group_series(uid, headers)),
        sum(map(len, objects.values())),
        ignored,
        tuple(unreadable),
        tuple(entry for uid, headers in sorted(objects.items()) for entry in group_series(uid, headers)),
    )


def choose_series(listing: SeriesListing, series_uid: str | None = None, allow_burned_in: bool = False) -> SeriesEntry:
    """Choose the only CT volume of a folder, or the one with the given UID.

    Localizers and secondary captures are ignored unless their UID is given.

    Args:
        listing: what `list_series` found.
        series_uid: SeriesInstanceUID; ``UID#2`` chooses the second grid of a series that mixes several, ``#2`` does so
            where the folder holds one CT series only.
        allow_burned_in: accept a secondary capture of modality CT, whose pixels may contain text.

    Raises:
        SeriesChoiceError: if there is none, several and no UID is given, no series of that UID, or it is not CT.
        SeriesGeometryError: if the series mixes several grids and none of them is chosen.
    """
    uid, _, group = (series_uid or "").partition("#")
    volumes = [entry for entry in listing.series if entry.kind == "ct"]
    if uid:
        chosen = [entry for entry in listing.series if entry.uid == uid]
        chosen = chosen if group else [entry for entry in chosen if entry.kind == "ct"] or chosen
    else:
        uids = {entry.uid for entry in volumes}
        chosen = [e for e in listing.series if e.uid in uids] if group and len(uids) == 1 else volumes
        chosen = chosen or list(listing.series)
    if group:
        chosen = [entry for entry in chosen if str(entry.group or 1) == group]
    if series_uid is not None and not chosen:
        present = shorten(listing.series) or "no image series"
        raise SeriesChoiceError(f"{listing.folder}: no series {series_uid}; found {present}")
    if not chosen:
        damaged = f", {len(listing.unreadable)} unreadable: {listing.unreadable[0][0]}" if listing.unreadable else ""
        raise SeriesChoiceError(
            f"{listing.folder}: no DICOM images found ({listing.ignored} files are not DICOM, "
            f"{listing.other_objects} are DICOM but not images{damaged}); expected a folder with a CT series"
        )
    if len(chosen) > 1:
        _refuse_several(listing.folder, chosen)
    if chosen[0].modality != "CT":
        raise SeriesChoiceError(f"{listing.folder}: the series is {chosen[0]}, expected modality CT")
    if chosen[0].kind != "ct" and not (allow_burned_in and chosen[0].kind == "secondary capture"):
        raise SeriesChoiceError(f"{listing.folder}: the series is {chosen[0]}, expected slices of a CT volume")
    return chosen[0]


def _refuse_several(folder: Path, chosen: list[SeriesEntry]) -> None:
    if len({entry.uid for entry in chosen}) == 1 and chosen[0].kind == "ct":
        parts = shorten([_describe_grid(entry) for entry in chosen], 4)
        sets = " (sets of slices at the same positions)" if all(entry.told_by for entry in chosen) else ""
        raise SeriesGeometryError(
            f"{folder}: series {shown_uid(chosen[0].uid)} mixes {len(chosen)} grids{sets}: {parts}; "
            "choose one with --series UID#N"
        )
    raise SeriesChoiceError(
        f"{folder}: {len(chosen)} series in one folder, choose one with --series UID: {shorten(chosen)}"
    )


def _describe_grid(entry: SeriesEntry) -> str:
    first = entry.headers[0]
    geometry = [
        f"{_numbers_text(first, 'Columns', ' ')} x {_numbers_text(first, 'Rows', ' ')}",
        "pixel spacing " + _numbers_text(first, "PixelSpacing", " x "),
        "orientation " + _numbers_text(first, "ImageOrientationPatient", " "),
    ]
    if entry.told_by and not entry.told_by.startswith("AcquisitionNumber"):
        geometry.append(entry.told_by)
    if first.text("AcquisitionNumber"):
        geometry.append(f"acquisition {_numbers_text(first, 'AcquisitionNumber', ' ')}")
    return f"#{entry.group} {len(entry.headers)} files like {first.label} ({', '.join(geometry)})"


def _numbers_text(header: SliceHeader, keyword: str, joint: str) -> str:
    text = header.text(keyword).replace("\\", joint)
    return shown(text, 80).strip("'") if text else "absent"


def _slices(header: SliceHeader) -> list[SliceHeader]:
    """The frames of a multi-frame file; one whose frames cannot be placed stays one header that holds the reason."""
    try:
        return expand_frames(header) if is_multi_frame(header) else [header]
    except DataError as error:
        return [replace(header, frame_fault=str(error))]


def _files_under(folder: Path, unreadable: list[tuple[Path, str]]) -> list[Path]:
    """All files under a folder; sub-folders that cannot be listed join ``unreadable``, since slices may lie in them."""

    def note(error: OSError) -> None:
        unreadable.append((Path(error.filename), f"folder cannot be listed: {os_reason(error, advice=True)}"))

    return [Path(parent, name) for parent, _, names in os.walk(folder, onerror=note) for name in names]


def _dicom_kind(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return "part10"  # the reader reports the reason
    if start[128:132] == b"DICM":
        return "part10"
    bare = start[:2] in _BARE_GROUPS and len(start) >= 16 and start[2:4] < b"\x40\x00" and start[3] == 0
    return "bare" if bare else None
