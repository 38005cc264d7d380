from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest
from pydicom import dcmread

from data_prep import cohort, convert, key
from tests.data_prep._canaries import leaks, write_marked
from tests.io._dicom_files import SERIES_UID, positions, write_series


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").mkdir()
    assert key.main([str(tmp_path / "secret" / "key")]) == 0
    return tmp_path / "secret" / "key"


def _facts(folder: Path) -> dict:
    return json.loads((folder / "ct.json").read_text())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_converted_series_gets_the_same_pseudonyms_in_every_run(tmp_path: Path, secret: Path) -> None:
    write_marked(tmp_path / "in")
    for name in ("a", "b"):
        assert convert.main([str(tmp_path / "in"), str(tmp_path / name), "--pseudonym-key", str(secret)]) == 0
    facts = _facts(tmp_path / "a")
    assert facts == _facts(tmp_path / "b")
    assert re.fullmatch(r"P-[A-Z2-7]{16}", facts["pseudonyms"]["patient"])
    uids = [facts["series_instance_uid"], *facts["sop_instance_uids"]]
    assert all(uid.startswith("2.25.") for uid in uids)
    assert facts["source_sop_instance_uids"] == [[uid] for uid in facts["sop_instance_uids"]]
    assert leaks(tmp_path / "a") == []
    text = (tmp_path / "a" / "ct.json").read_text()
    for path in (tmp_path / "in").rglob("*.dcm"):
        assert str(dcmread(path).SOPInstanceUID) not in text
    assert secret.read_text().split()[1] not in text


def test_the_date_of_the_study_is_written_moved_and_only_with_a_key(tmp_path: Path, secret: Path) -> None:
    write_series(tmp_path / "in", positions(3), StudyDate="20190405")
    assert convert.main([str(tmp_path / "in"), str(tmp_path / "plain")]) == 0
    assert "20190405" not in (tmp_path / "plain" / "ct.json").read_text()
    assert convert.main([str(tmp_path / "in"), str(tmp_path / "out"), "--pseudonym-key", str(secret)]) == 0
    moved = date.fromisoformat(_facts(tmp_path / "out")["pseudonyms"]["study_date_shifted"])
    assert 1 <= (date(2019, 4, 5) - moved).days <= 3650


def test_the_link_file_leads_back_and_is_for_its_owner_alone(tmp_path: Path, secret: Path) -> None:
    paths = write_series(tmp_path / "in", positions(3))
    link = tmp_path / "secret" / "link.jsonl"
    words = ["--pseudonym-key", str(secret), "--link", str(link)]
    assert convert.main([str(tmp_path / "in"), str(tmp_path / "out"), *words]) == 0
    facts, record = _facts(tmp_path / "out"), json.loads(link.read_text())
    assert (record["pseudonym"], record["patient_id"]) == (facts["pseudonyms"]["patient"], "S-1")
    assert record["uids"][facts["series_instance_uid"]] == SERIES_UID
    back = [record["uids"][uid] for uid in facts["sop_instance_uids"]]
    assert back == [str(dcmread(path).SOPInstanceUID) for path in paths]
    assert link.stat().st_mode & 0o077 == 0


def test_a_cohort_names_its_cases_by_the_key(tmp_path: Path, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "in" / "one", positions(3))
    write_series(tmp_path / "in" / "two", [(0, 0, 0), (0, 0, 1), (0, 0, 3)], SeriesInstanceUID="1.2.3.4.5.6")
    link = tmp_path / "secret" / "link.jsonl"
    words = ["--pseudonym-key", str(secret), "--link", str(link), "--workers", "1"]
    assert cohort.main(["convert", str(tmp_path / "in"), str(tmp_path / "out"), *words]) == 4
    (case,) = (tmp_path / "out" / "cases").iterdir()
    assert case.name == _facts(case)["series_instance_uid"]
    assert json.loads(link.read_text())["uids"][case.name] == SERIES_UID
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*.*") if path.suffix in (".json", ".jsonl", ".csv")]
    for text in (*texts, capsys.readouterr().err):
        assert SERIES_UID not in text
        assert "1.2.3.4.5.6" not in text
        assert str(secret) not in text


@pytest.mark.parametrize("place", ["out/key", "out/deep/key"])
def test_a_key_inside_the_output_is_refused(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "in", positions(3))
    (tmp_path / place).parent.mkdir(parents=True)
    assert key.main([str(tmp_path / place)]) == 0
    assert convert.main([str(tmp_path / "in"), str(tmp_path / "out"), "--pseudonym-key", str(tmp_path / place)]) == 3
    assert "inside the output" in capsys.readouterr().err
    assert not (tmp_path / "out" / "ct.nii.gz").exists()


def test_a_link_file_inside_the_output_is_refused(tmp_path: Path, secret: Path) -> None:
    write_series(tmp_path / "in", positions(3))
    words = ["--pseudonym-key", str(secret), "--link", str(tmp_path / "out" / "link")]
    assert convert.main([str(tmp_path / "in"), str(tmp_path / "out"), *words]) == 3


def test_several_or_no_patients_in_a_series_are_refused(
    tmp_path: Path, secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--pseudonym-key", str(secret)]
    write_series(tmp_path / "two", positions(3), change=lambda k, data: setattr(data, "PatientID", f"S-{k // 2}"))
    assert convert.main([str(tmp_path / "two"), str(tmp_path / "out"), *words]) == 3
    assert "expected one patient" in capsys.readouterr().err
    write_series(tmp_path / "none", positions(3), PatientID="")
    assert convert.main([str(tmp_path / "none"), str(tmp_path / "out"), *words]) == 3
    assert "PatientID is empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_link_needs_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "in", positions(3))
    assert convert.main([str(tmp_path / "in"), str(tmp_path / "out"), "--link", str(tmp_path / "link")]) == 2
    assert "--pseudonym-key" in capsys.readouterr().err
