"""LIDC-IDRI reading sessions from their XML files (root ``LidcReadMessage``); entities are never expanded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from medseg.datasets.lidc.records import (
    RATING_RANGES,
    Annotation,
    Contour,
    DamagedMark,
    PointMark,
    Reading,
    rating_warnings,
)
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.bounded.xml_guard import parse_xml
from medseg.io.privacy.names import shown, shown_uid

__all__ = ["MAX_XML_BYTES", "OtherReadError", "find_reading", "read_xml"]

MAX_XML_BYTES = 64 * 1024 * 1024
_NAMESPACE = "http://www.nih.gov"


class OtherReadError(DataError):
    """The XML file is not a LIDC CT read but, for example, the read of a chest X-ray."""


def find_reading(
    folder: str | Path, series_uid: str, *, allow_partial: bool = False
) -> tuple[Reading, Path, list[str]]:
    """The reading of one CT series among all XML files under a folder.

    Args:
        folder: searched recursively for ``*.xml``.
        series_uid: SeriesInstanceUID of the CT.
        allow_partial: see `read_xml`.

    Returns:
        The reading, its file, and one line for every XML file that was skipped.

    Raises:
        DataError: if no file, or several different ones, belong to the series, or a file is damaged.

    >>> from pathlib import Path
    >>> point = "<edgeMap><xCoord>{}</xCoord><yCoord>{}</yCoord></edgeMap>"
    >>> edge = "".join(point.format(x, y) for x, y in [(10, 10), (14, 10), (14, 14), (10, 14)])
    >>> roi = f"<roi><imageZposition>-120.0</imageZposition><inclusion>TRUE</inclusion>{edge}</roi>"
    >>> nodule = f"<unblindedReadNodule><noduleID>A</noduleID>{roi}</unblindedReadNodule>"
    >>> header = "<ResponseHeader><SeriesInstanceUid>1.2.3</SeriesInstanceUid></ResponseHeader>"
    >>> text = f"<LidcReadMessage>{header}<readingSession>{nodule}</readingSession></LidcReadMessage>"
    >>> _ = Path("reading.xml").write_text(text)
    >>> reading, path, skipped = find_reading(".", "1.2.3")
    >>> reading.readers, path.name, skipped
    (1, 'reading.xml', [])
    """
    folder = Path(folder)
    matches: list[tuple[Reading, Path]] = []
    skipped: list[str] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".xml" and p.is_file()):
        try:
            reading = read_xml(path, allow_partial=allow_partial)
        except OtherReadError as error:
            skipped.append(f"skipped {path.name}: {str(error).removeprefix(f'{path}: ')}")
            continue
        if reading.series_uid == series_uid:
            matches.append((reading, path))
        else:
            skipped.append(f"skipped {path.name}: it reads series {shown_uid(reading.series_uid)}")
    if not matches:
        raise DataError(f"{folder}: no LIDC XML file reads series {series_uid}{_where_to_look(skipped)}")
    if len({path.read_bytes() for _, path in matches}) > 1:
        names = shorten(str(path) for _, path in matches)
        raise DataError(f"{folder}: {len(matches)} different XML files read series {series_uid}: {names}; keep one")
    return matches[0][0], matches[0][1], skipped


def _where_to_look(skipped: list[str]) -> str:
    """What there is instead, and what to do: a folder that was searched is not the answer."""
    database = "or take the outlines from the annotation database with --annotations database"
    if not skipped:
        return f", there is no XML file at all; give the folder of the LIDC XML files with --xml, {database}"
    return (
        f" ({shorten(skipped, 4)}); the files here belong to other series: give the folder of the right file with "
        f"--xml, choose the CT that they read with --series UID, {database}"
    )


def read_xml(path: str | Path, *, allow_partial: bool = False) -> Reading:
    """Read one LIDC CT read message.

    Nodules whose only mark is a single point are returned in ``points`` (the data set outlines nodules from 3 mm on).

    Args:
        path: the XML file.
        allow_partial: go on where the mark of a single nodule is damaged; it is then in ``damaged`` with the reason.

    Raises:
        OtherReadError: if the root is another message, such as a chest X-ray read.
        DataError: if the file is damaged, too large, has a DOCTYPE, or lacks a needed element.

    >>> from pathlib import Path
    >>> point = "<edgeMap><xCoord>{}</xCoord><yCoord>{}</yCoord></edgeMap>"
    >>> edge = "".join(point.format(x, y) for x, y in [(10, 10), (14, 10), (14, 14), (10, 14)])
    >>> roi = f"<roi><imageZposition>-120.0</imageZposition><inclusion>TRUE</inclusion>{edge}</roi>"
    >>> nodule = f"<unblindedReadNodule><noduleID>A</noduleID>{roi}</unblindedReadNodule>"
    >>> header = "<ResponseHeader><SeriesInstanceUid>1.2.3</SeriesInstanceUid></ResponseHeader>"
    >>> text = f"<LidcReadMessage>{header}<readingSession>{nodule}</readingSession></LidcReadMessage>"
    >>> _ = Path("reading.xml").write_text(text)
    >>> reading = read_xml("reading.xml")
    >>> reading.series_uid, len(reading.annotations[0].contours[0].points)
    ('1.2.3', 4)
    """
    path = Path(path)
    root = _parse(path)
    header = _child(path, root, "ResponseHeader")
    series_uid = _text(path, header, "SeriesInstanceUid")
    annotations: list[Annotation] = []
    points: list[PointMark] = []
    damaged: list[DamagedMark] = []
    warnings: list[str] = []
    sessions = list(_children(root, "readingSession"))
    for reader, session in enumerate(sessions, start=1):
        for nodule in _children(session, "unblindedReadNodule"):
            try:
                found = _nodule(path, nodule, reader)
            except DataError as error:
                if not allow_partial:
                    raise
                damaged.append(_damaged(path, nodule, reader, error))
                continue
            if isinstance(found, PointMark):
                points.append(found)
            else:
                annotations.append(found)
                warnings += rating_warnings(found.nodule_id, found.ratings)
        for mark in _children(session, "nonNodule"):
            try:
                points.append(_non_nodule(path, mark, reader))
            except DataError as error:
                if not allow_partial:
                    raise
                warnings.append(f"a non-nodule of reader {reader} is left out: {str(error).removeprefix(f'{path}: ')}")
    return Reading(
        series_uid,
        "xml",
        len(sessions),
        tuple(annotations),
        tuple(points),
        warnings=tuple(warnings),
        damaged=tuple(damaged),
    )


def _parse(path: Path) -> ElementTree.Element:
    root = parse_xml(path, "LIDC", MAX_XML_BYTES)
    namespace, _, name = root.tag.rpartition("}")
    if name != "LidcReadMessage" or namespace.lstrip("{") not in ("", _NAMESPACE):
        kind = "the read of a chest X-ray" if name == "IdriReadMessage" else "another kind of message"
        raise OtherReadError(f"{path}: root {name} is {kind}, expected LidcReadMessage (a CT read)")
    return root


def _nodule(path: Path, nodule: ElementTree.Element, reader: int) -> Annotation | PointMark:
    name = _text(path, nodule, "noduleID")
    contours = tuple(_contour(path, roi) for roi in _children(nodule, "roi"))
    if not contours:
        raise DataError(f"{path}: nodule {name} of reader {reader} has no roi element")
    if len(contours) == 1 and len(contours[0].points) == 1:
        x, y = (int(value) for value in contours[0].points[0])
        return PointMark(reader, name, "nodule_below_3mm", x, y, contours[0].z_mm)
    ratings: dict[str, int] = {}
    for characteristics in _children(nodule, "characteristics"):
        for key in RATING_RANGES:
            for element in _children(characteristics, key):
                ratings[key] = _whole(path, element.text, key)
    return Annotation(reader, name, ratings, contours)


def _damaged(path: Path, nodule: ElementTree.Element, reader: int, error: DataError) -> DamagedMark:
    name = next((child.text or "" for child in _children(nodule, "noduleID")), "").strip()
    contours = []
    for roi in _children(nodule, "roi"):
        with suppress(DataError):
            contours.append(_contour(path, roi))
    return DamagedMark(reader, name, tuple(contours), str(error).removeprefix(f"{path}: "))


def _contour(path: Path, roi: ElementTree.Element) -> Contour:
    z_mm = _position(path, _text(path, roi, "imageZposition"))
    inclusion = _text(path, roi, "inclusion").upper()
    if inclusion not in ("TRUE", "FALSE"):
        raise DataError(f"{path}: inclusion is {shown(inclusion)}, expected TRUE or FALSE")
    points = [_point(path, edge) for edge in _children(roi, "edgeMap")]
    if not points:
        raise DataError(f"{path}: the roi at z {z_mm} mm has no edgeMap point")
    return Contour(z_mm, np.array(points, dtype=np.int64), inclusion == "TRUE")


def _non_nodule(path: Path, mark: ElementTree.Element, reader: int) -> PointMark:
    x, y = _point(path, _child(path, mark, "locus"))
    z_mm = _position(path, _text(path, mark, "imageZposition"))
    return PointMark(reader, _text(path, mark, "nonNoduleID"), "non_nodule", x, y, z_mm)


def _point(path: Path, element: ElementTree.Element) -> tuple[int, int]:
    x, y = (_whole(path, _text(path, element, key), key) for key in ("xCoord", "yCoord"))
    return x, y


def _whole(path: Path, text: str | None, key: str) -> int:
    stripped = (text or "").strip()
    if len(stripped) > 9 or not stripped.lstrip("+-").isdecimal():
        raise DataError(f"{path}: {key} is {shown(stripped)}, expected a whole number")
    try:
        return int(stripped)
    except ValueError:
        raise DataError(f"{path}: {key} is {shown(text)}, expected a whole number") from None


def _position(path: Path, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{path}: imageZposition is {shown(text)}, expected a number of millimetres")
    return value


def _children(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    return (child for child in element if child.tag.rpartition("}")[2].lower() == name.lower())


def _child(path: Path, element: ElementTree.Element, name: str) -> ElementTree.Element:
    child = next(_children(element, name), None)
    if child is None:
        raise DataError(f"{path}: element {element.tag.rpartition('}')[2]} has no {name}")
    return child


def _text(path: Path, element: ElementTree.Element, name: str) -> str:
    return (_child(path, element, name).text or "").strip()
