"""The manifest: a written line is never lost, an incomplete line does no harm, and several parts are read as one."""

from __future__ import annotations

import csv
import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest

from data_prep._cohort.reports import write_reports
from medseg.io.bounded.errors import DataError
from medseg.io.cohort.locks import PartBusyError, part_lock
from medseg.io.cohort.manifest import Manifest, manifest_name, read_manifests
from medseg.io.cohort.tree import contents_sha256, files_of, tree_sha256


def done(case: str, tree: str = "t") -> dict[str, Any]:
    return {"case": case, "status": "done", "tree_sha256": tree, "seconds": 2.0, "peak_rss_mb": 50.0}


def failed(case: str, error: str = "no") -> dict[str, Any]:
    return {"case": case, "status": "failed", "error": error, "attempts": 1, "seconds": 1.0}


def test_the_latest_record_of_a_case_counts(tmp_path: Path) -> None:
    with Manifest(tmp_path / "manifest.jsonl") as manifest:
        manifest.append(failed("a"))
        manifest.append(done("b"))
    with Manifest(tmp_path / "manifest.jsonl") as manifest:
        manifest.append(done("a"))
    lines = read_manifests(tmp_path)
    assert {case: record["status"] for case, record in lines.records.items()} == {"a": "done", "b": "done"}
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 3
    assert lines.torn == 0


def test_every_line_is_on_the_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append((tmp_path / "manifest.jsonl").stat().st_size))
    with Manifest(tmp_path / "manifest.jsonl") as manifest:
        manifest.append(done("a"))
        manifest.append(done("b"))
    assert len(seen) == 2 and 0 < seen[0] < seen[1]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_a_crash_cut_off_is_ignored_and_never_joined_to_the_next(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "manifest.jsonl"
    with Manifest(path) as manifest:
        manifest.append(done("a"))
        manifest.append(done("b"))
    path.write_bytes(path.read_bytes()[:-cut])
    with Manifest(path) as manifest:
        manifest.append(done("c"))
    lines = read_manifests(tmp_path)
    assert {"a", "c"} <= lines.records.keys()
    assert ("b" in lines.records) == (cut == 1)  # only the line's end was lost
    assert lines.torn == (cut > 1)


def test_a_line_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"image": "a.nii"}\n')
    with pytest.raises(DataError, match="line 1 is no record of a case"):
        read_manifests(tmp_path)


def test_the_manifests_of_all_parts_are_one(tmp_path: Path) -> None:
    assert manifest_name(0, 1) == "manifest.jsonl"
    for part, case in enumerate(("a", "b")):
        with Manifest(tmp_path / manifest_name(part, 2)) as manifest:
            manifest.append(done(case))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest-0-of-2.jsonl", "manifest-1-of-2.jsonl"]
    assert read_manifests(tmp_path).records.keys() == {"a", "b"}


def test_the_reports_count_all_cases_and_name_the_failed(tmp_path: Path) -> None:
    with Manifest(tmp_path / "manifest.jsonl") as manifest:
        for record in (
            done("a"),
            failed("b", 'cut off, "twice"\nor so'),
            {"case": "c", "status": "skipped"},
            done("gone"),
        ):
            manifest.append(record)
    (tmp_path / ".tmp-x1y2-failed.csv").write_text("half a rep")
    summary = write_reports(tmp_path, ["a", "b", "c", "d"], {"command": "convert"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failed.csv", "manifest.jsonl", "summary.json"]
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    counts = ("cases", "done", "failed", "skipped", "not_run")
    assert [summary[key] for key in counts] == [4, 1, 1, 1, 1]
    assert (summary["command"], summary["seconds_of_work"], summary["peak_rss_mb"]) == ("convert", 3.0, 50.0)
    with (tmp_path / "failed.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["case"], row["status"], row["error"]) == ("b", "failed", 'cut off, "twice"\nor so')


def test_the_digest_of_all_outputs_does_not_depend_on_the_order(tmp_path: Path) -> None:
    digests = []
    for name, order in (("x", ("a", "b")), ("y", ("b", "a")), ("z", ("a",))):
        (tmp_path / name).mkdir()
        with Manifest(tmp_path / name / "manifest.jsonl") as manifest:
            for case in order:
                manifest.append(done(case, tree=f"tree of {case}"))
        digests.append(write_reports(tmp_path / name, ["a", "b"], {})["tree_sha256"])
    assert digests[0] == digests[1] != digests[2]


def test_the_input_digest_is_of_contents_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"three")
    digest, size = contents_sha256([tmp_path / "a", tmp_path / "b"])
    assert size == 8
    (tmp_path / "a").rename(tmp_path / "z")
    os.utime(tmp_path / "z", ns=(1, 1))
    assert contents_sha256([tmp_path / "b", tmp_path / "z"])[0] == digest
    (tmp_path / "z").write_bytes(b"two")
    assert contents_sha256([tmp_path / "b", tmp_path / "z"])[0] != digest
    assert contents_sha256([tmp_path / "b"])[0] != digest


def test_the_tree_digest_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(b"one")
    first = tree_sha256(files_of(tmp_path))
    (tmp_path / "deep" / "a").rename(tmp_path / "a")
    second = tree_sha256(files_of(tmp_path))
    (tmp_path / "a").write_bytes(b"two")
    assert len({first, second, tree_sha256(files_of(tmp_path))}) == 3


def test_a_part_is_held_by_one_run_only(tmp_path: Path) -> None:
    with part_lock(tmp_path, 0, 2), part_lock(tmp_path, 1, 2):
        with pytest.raises(PartBusyError, match="another run works on part 1 of 2"), part_lock(tmp_path, 1, 2):
            pass
        otherwise = r"another run divides this cohort into 2 part"
        with pytest.raises(PartBusyError, match=otherwise), part_lock(tmp_path, 0, 1):
            pass
    with part_lock(tmp_path, 0, 1):
        pass


def test_without_file_locks_the_run_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with part_lock(tmp_path, 0, 1):
        pass
    assert "never run a part twice at a time" in capsys.readouterr().err
