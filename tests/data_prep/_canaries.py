"""Synthetic DICOM series full of marks that must not get out: one in every kind of value, file and folder name."""

from __future__ import annotations

import gzip
import re
import zipfile
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

from tests.io._dicom_files import positions, write_series

MARK = "ZQXCANARY"
DATE = "19770707"
FOLDER = f"{MARK}DIR^DOE"

_TEXTS = {
    "AE": (0x00080055, f"{MARK}AE"),  # RetrieveAETitle is 0008,0054; the next is free for a mark
    "AS": (0x00101010, "077Y"),
    "CS": (0x00081111, f"{MARK}CS"),
    "DA": (0x00100030, DATE),
    "DT": (0x0008002A, f"{DATE}070707"),
    "LO": (0x00100020, f"{MARK}LO"),
    "LT": (0x001021B0, f"{MARK}LT line\r\nanother {MARK}LT"),
    "PN": (0x00100010, f"{MARK}PN^Given^{MARK}MIDDLE^Dr^Jr=ideographic{MARK}=phonetic{MARK}"),
    "SH": (0x00080050, f"{MARK}SH"),
    "ST": (0x00080081, f"{MARK}ST"),
    "TM": (0x00080030, "070707"),
    "UC": (0x00189908, f"{MARK}UC"),
    "UR": (0x00081190, f"http://{MARK}.UR/x"),
    "UT": (0x00081195, f"{MARK}UT"),
}
_PRIVATE = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "OB", "UN")


def plant(_: int, data: FileDataset) -> None:
    """Put a mark into every kind of value of a slice."""
    for vr, (tag, text) in _TEXTS.items():
        data.add_new(tag, vr, text)
    for keyword in ("StudyDescription", "SeriesDescription", "ProtocolName", "InstitutionName", "StationName"):
        setattr(data, keyword, MARK + keyword[:8])
    for keyword in ("OperatorsName", "ReferringPhysicianName", "OtherPatientNames", "PatientComments"):
        setattr(data, keyword, MARK + keyword[:8])
    data.ConvolutionKernel, data.BodyPartExamined, data.RescaleType = f"{MARK[:9]}KN", f"{MARK}BP"[:16], f"{MARK}RT"
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(data, keyword, DATE)
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", f"{MARK}IT"]
    item = Dataset()
    item.PatientName = item.PatientID = f"{MARK}SQ"
    inner = Dataset()
    inner.TextValue = f"{MARK}NESTED"
    item.ContentSequence = [inner]
    data.ReferencedPatientSequence = [item]
    data.add_new(0x00090010, "LO", f"{MARK}CREATOR")
    for number, vr in enumerate(_PRIVATE):
        text = f"{MARK}P{vr}"
        data.add_new(0x00091001 + number, vr, text.encode() if vr in ("OB", "UN") else text)
    data.add_new(0x60000022, "LO", f"{MARK}OVERLAY")
    data.add_new(0x50002500, "LO", f"{MARK}CURVE")
    data.add_new(0xFFFCFFFC, "OB", f"{MARK}TRAILER ".encode())
    data.preamble = f"{MARK}PREAMBLE".encode().ljust(128, b"\0")
    data.file_meta.SourceApplicationEntityTitle = f"{MARK}AE"
    data.file_meta.PrivateInformationCreatorUID = "1.2.3"
    data.file_meta.PrivateInformation = f"{MARK}META".encode()


def write_marked(root: Path, count: int = 4, **tags: object) -> Path:
    """A series with marks in every value and in the names of its files and folders; returns the folder ``root``."""
    folder = root / FOLDER / f"{MARK}_STUDY"
    for path in write_series(folder, positions(count), change=plant, FrameOfReferenceUID="1.2.3.4.5", **tags):
        path.rename(path.with_name(f"{MARK}_{path.name}.dcm"))
    (folder / f"{MARK}notes.txt").write_text(f"{MARK} notes")
    return root


def files_of(root: Path) -> list[Path]:
    """The DICOM files of a marked series, sorted."""
    return sorted(root.rglob("*.dcm"))


def leaks(*places: Path | str) -> list[str]:
    """Where a mark got out: names and bytes (also decompressed) of all files under folders, and texts."""
    wrong = re.compile(rf"{MARK}|{DATE}|ideographic|phonetic", re.IGNORECASE)
    found = []
    for place in places:
        if isinstance(place, str):
            found += [line for line in place.splitlines() if wrong.search(line)]
            continue
        for path in [place, *place.rglob("*")]:
            if wrong.search(str(path.relative_to(place.parent))):
                found.append(f"name {path.name}")
            if path.is_file():
                found += [f"{path.name}: {hit}" for data in _contents(path) for hit in wrong.findall(data)[:3]]
    return found


def _contents(path: Path) -> list[str]:
    data = path.read_bytes()
    found = [data]
    if data[:2] == b"\x1f\x8b":
        assert data[3] == 0, "the gzip header holds a name or a comment"
        assert data[4:8] == b"\0\0\0\0", "the gzip header holds a time"
        found.append(gzip.decompress(data))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            found += [archive.read(name) for name in archive.namelist()]
    return [item.decode(code, "ignore") for item in found for code in ("latin-1", "utf-16-le")]
