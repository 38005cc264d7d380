"""Finding the cases of a cohort: any layout, nothing lost, nothing mixed, no header text as a path."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from data_prep._cohort.case_index import find_inputs
from medseg.io.cohort.cases import Case, Cohort, case_name, discover, file_stats, part_of, stats_digest
from tests.data_prep._cohort_files import SLICES, make_cohort
from tests.datasets.lidc._messages import message, nodule, roi, square
from tests.io._dicom_files import positions, write_series

UIDS = ["1.2.826.0.1.1", "1.2.826.0.1.2", "1.2.826.0.1.3"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_cohort(tmp_path / "in", 3)
    return tmp_path / "in"


def find(root: Path) -> Cohort:
    return discover(root, file_stats(root))


def lidc_xml(path: Path, uid: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(message(uid, nodule("A", roi(42.5, square(2, 2, 1)))), encoding="utf-8")
    return path


def test_every_ct_series_is_one_case_with_its_own_files(root: Path) -> None:
    cases = find(root).cases
    assert [case.name for case in cases] == UIDS
    for number, case in enumerate(cases):
        assert len(case.files) == SLICES
        assert {os.path.dirname(name) for name in case.files} == {f"patient-{number // 2}/scan-{number}"}
        assert case.error is None and not case.choose


def test_the_layout_of_the_folders_does_not_matter(root: Path, tmp_path: Path) -> None:
    flat, scattered = tmp_path / "flat", tmp_path / "scattered"
    for number, path in enumerate(sorted(p for p in root.rglob("*") if p.is_file())):
        for folder in (flat, scattered / str(number % 2)):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / f"f{number}")
    for layout in (flat, scattered):
        cases = find(layout).cases
        assert [case.name for case in cases] == UIDS
        assert [len(case.files) for case in cases] == [SLICES] * 3
        assert not set(cases[0].files) & set(cases[1].files)


def test_what_is_no_ct_volume_is_counted_and_left_out(root: Path) -> None:
    write_series(root / "xray", positions(1), SeriesInstanceUID="1.2.9", Modality="DX")
    write_series(
        root / "scout", positions(2), SeriesInstanceUID="1.2.8", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    (root / "notes.txt").write_text("no DICOM")
    cohort = find(root)
    assert [case.name for case in cohort.cases] == UIDS
    assert (cohort.not_ct, cohort.localizers, cohort.other_files) == ({"DX": 1}, 1, 1)


def test_a_damaged_file_goes_with_every_series_beside_it(root: Path) -> None:
    (root / "patient-0" / "scan-0" / "slice.dcm").write_bytes(b"cut")
    cases = find(root).cases
    assert [case.name for case in cases] == UIDS
    assert [len(case.files) for case in cases] == [SLICES + 1, SLICES, SLICES]
    assert "patient-0/scan-0/slice.dcm" in cases[0].files


def test_damaged_files_without_a_series_are_a_failed_case_of_their_own(root: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        (root / "lost").mkdir(exist_ok=True)
        (root / "lost" / name).write_bytes(b"cut")
    damaged = [case for case in find(root).cases if case.error]
    assert len(damaged) == 1 and damaged[0].name.startswith("damaged-")
    assert damaged[0].error == (
        "lost/a.dcm: not DICOM inside (3 bytes); fetch the file again; 1 more such file(s) in this folder; "
        "no readable series lies beside it, fetch the files again"
    )


def test_a_series_without_a_uid_is_held_together_by_its_folder(root: Path) -> None:
    write_series(root / "x", positions(3), SeriesInstanceUID="")
    write_series(root / "y", positions(4), SeriesInstanceUID="")
    cases = find(root).cases
    assert [case.name for case in cases[:3]] == UIDS
    assert sorted(len(case.files) for case in cases[3:]) == [3, 4]
    assert all(case.name.startswith("series-") and case.error is None for case in cases[3:])
    assert cases[3].name != cases[4].name


def test_slices_without_a_uid_go_with_every_series_beside_them(root: Path) -> None:
    (stray, _) = write_series(root / "patient-0" / "scan-0", positions(2), SeriesInstanceUID="")
    cases = find(root).cases
    assert [case.name for case in cases] == UIDS
    assert str(stray.relative_to(root)) in cases[0].files


@pytest.mark.parametrize(
    "uid", ["../../outside", "/etc/x", "1.2/3", "..", ".", "1" * 65, "Anna^Muster", "1.2.3\0", "1..2"]
)
def test_header_text_never_becomes_a_path(uid: str) -> None:
    name = case_name(uid)
    assert name.startswith("series-") and len(name) == len("series-") + 16
    assert uid not in name


def test_a_uid_is_its_own_name_and_a_group_gets_a_number() -> None:
    assert case_name("1.2.840.113") == "1.2.840.113"
    assert case_name("1.2.840.113#2") == "1.2.840.113_2"


def test_names_come_from_a_function_and_must_be_plain_and_unique(root: Path) -> None:
    stats = file_stats(root)
    named = discover(root, stats, name_of=lambda series: f"case-{series[-1]}")
    assert [case.name for case in named.cases] == ["case-1", "case-2", "case-3"]
    with pytest.raises(ValueError, match="expected a plain file name"):
        discover(root, stats, name_of=lambda series: f"../{series}")
    with pytest.raises(ValueError, match=r"1\.2\.826\.0\.1\.1 and 1\.2\.826\.0\.1\.2 would both be written as same"):
        discover(root, stats, name_of=lambda series: "same")


@pytest.mark.parametrize(("count", "parts"), [(10, 3), (2, 5), (7, 1), (64, 8)])
def test_parts_are_disjoint_complete_and_balanced(count: int, parts: int) -> None:
    cases = [Case(f"1.2.{number}", f"1.2.{number}", ()) for number in range(count)]
    shares = [part_of(cases, part, parts) for part in range(parts)]
    assert sorted(case.name for share in shares for case in share) == sorted(case.name for case in cases)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert shares == [part_of(cases[::-1], part, parts) for part in range(parts)]


def test_annotation_files_go_to_the_series_they_read(root: Path, tmp_path: Path) -> None:
    lidc_xml(tmp_path / "xml" / "1.xml", UIDS[0])
    lidc_xml(tmp_path / "xml" / "deep" / "2.xml", UIDS[2])
    lidc_xml(tmp_path / "xml" / "absent.xml", "1.2.3.4.5")
    (tmp_path / "xml" / "other.xml").write_text("<IdriReadMessage/>")
    inputs = find_inputs(root, tmp_path / "xml")
    assert [case.xml for case in inputs.cohort.cases] == [("1.xml",), (), ("deep/2.xml",)]
    assert (inputs.cohort.absent_series, inputs.cohort.other_reads) == (1, 1)


def test_a_damaged_annotation_file_fails_and_is_never_passed_over(root: Path, tmp_path: Path) -> None:
    (root / "patient-0" / "scan-1" / "x.xml").write_text("<LidcReadMessage>")
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "y.xml").write_text("<LidcReadMessage>")
    beside = find_inputs(root, root).cohort.cases
    assert [case.xml for case in beside] == [(), ("patient-0/scan-1/x.xml",), ()]
    apart = find_inputs(root, tmp_path / "xml").cohort.cases
    assert [case.name for case in apart[:3]] == UIDS
    assert (apart[3].error or "").startswith("y.xml: not well-formed XML")
    assert apart[3].xml == ("y.xml",)


def test_the_index_is_used_as_long_as_no_file_changed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index.json"
    first = find_inputs(root, None, index)
    monkeypatch.setattr(
        "data_prep._cohort.case_index.discover", lambda *_, **__: pytest.fail("the headers were read again")
    )
    assert find_inputs(root, None, index) == first
    monkeypatch.undo()
    renamed = find_inputs(root, None, index, name_of=lambda series: f"case-{series[-1]}")
    assert [case.name for case in renamed.cohort.cases] == ["case-1", "case-2", "case-3"]
    make_cohort(root, 4)
    assert len(find_inputs(root, None, index).cohort.cases) == 4
    index.write_text("{")
    assert len(find_inputs(root, None, index).cohort.cases) == 4


def test_the_digest_of_the_stats_follows_names_sizes_and_times(root: Path) -> None:
    before = stats_digest(file_stats(root))
    assert stats_digest(file_stats(root)) == before
    file = next(path for path in root.rglob("*") if path.is_file())
    os.utime(file, ns=(1, 1))
    touched = stats_digest(file_stats(root))
    file.rename(file.with_name("renamed"))
    assert len({before, touched, stats_digest(file_stats(root))}) == 3
