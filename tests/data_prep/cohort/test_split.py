"""Cohorts of series that hold several volumes: mixed grids, multi-frame files, series split at gaps."""

from __future__ import annotations

from pathlib import Path

from data_prep._cohort.case_job import recipe_of, run_case
from medseg.io.cohort.cases import discover, file_stats
from tests.io._dicom_files import SERIES_UID, positions, write_series
from tests.io._enhanced_files import write_enhanced


def _run(root: Path, out: Path, *options: str) -> list[dict[str, object]]:
    out.mkdir()
    return [
        run_case(
            recipe=recipe_of("convert", options),
            sources={"dicom": str(root), "xml": str(root)},
            dicom=list(case.files),
            xml=[],
            series=case.series if case.choose else None,
            staging=str(out),
            target=str(out / case.name),
            overwrite=False,
        )
        for case in discover(root, file_stats(root)).cases
    ]


def test_the_parts_of_a_split_series_stay_within_its_case(tmp_path: Path) -> None:
    where = positions(12)
    write_series(tmp_path / "in", where[:5] + where[8:])
    results = _run(tmp_path / "in", tmp_path / "out", "--on-gap", "split")
    assert [result["status"] for result in results] == ["done"]
    found = sorted(str(path.relative_to(tmp_path / "out" / SERIES_UID)) for path in tmp_path.rglob("ct_*.nii.gz"))
    assert found == ["ct_1.nii.gz", "ct_2.nii.gz"]


def test_each_grid_of_a_mixed_series_is_a_case(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "a", positions(4))
    write_series(tmp_path / "in" / "b", positions(3), PixelSpacing=[0.5, 0.5])
    write_series(tmp_path / "in" / "c", positions(1), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    cohort = discover(tmp_path / "in", file_stats(tmp_path / "in"))
    assert [case.series for case in cohort.cases] == [f"{SERIES_UID}#1", f"{SERIES_UID}#2"]
    assert cohort.localizers == 1
    assert [result["status"] for result in _run(tmp_path / "in", tmp_path / "out")] == ["done", "done"]
    assert {path.parent.name for path in tmp_path.rglob("ct.nii.gz")} == {f"{SERIES_UID}_1", f"{SERIES_UID}_2"}


def test_a_multi_frame_file_is_one_case_of_one_file(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "in" / "a.dcm", positions(4))
    cohort = discover(tmp_path / "in", file_stats(tmp_path / "in"))
    assert [case.files for case in cohort.cases] == [("a.dcm",)]
    assert [result["status"] for result in _run(tmp_path / "in", tmp_path / "out")] == ["done"]
