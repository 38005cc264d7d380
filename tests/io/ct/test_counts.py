"""A slice lost at the end of a series leaves no gap; where the headers count the slices, it is noticed all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from medseg.io.ct.counts import count_missing_inside, find_lacking
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_series
from medseg.io.ct.verdict import judge_series
from tests.io._dicom_files import positions, write_series
from tests.io._enhanced_files import write_enhanced


def _number(first: int, *absent: int) -> Callable[[int, FileDataset], None]:
    """Give slices the numbers from ``first`` upwards, those absent left out."""
    numbers = [n for n in range(first, first + 99) if n not in absent]
    return lambda k, data: setattr(data, "InstanceNumber", numbers[k])


@pytest.mark.parametrize(
    ("change", "tags", "words"),
    [
        (None, {"NumberOfSeriesRelatedInstances": 8}, "1 of 8 instance(s) of the series are absent"),
        (None, {"ImagesInAcquisition": 9}, "2 of 9 image(s) of the acquisition are absent"),
        (_number(2), {}, "1 slice(s) may be missing: InstanceNumber goes up to 8 without 1"),
        (_number(1, 3, 4), {}, "2 slice(s) may be missing: InstanceNumber goes up to 9 without 3 to 4"),
    ],
)
def test_a_missing_end_is_a_warning_with_the_count_for_reader_and_verdict(
    tmp_path: Path, change: Callable[[int, FileDataset], None] | None, tags: dict[str, int], words: str
) -> None:
    write_series(tmp_path, positions(7), change=change, **tags)
    assert any(line.startswith(words) for line in read_series(tmp_path).warnings)
    (entry,) = list_series(tmp_path).series
    verdict = judge_series(entry)
    assert verdict.status == "ok"
    assert any(line.startswith(words) for line in verdict.findings)


@pytest.mark.parametrize(
    ("change", "tags"),
    [
        (None, {"NumberOfSeriesRelatedInstances": 7, "ImagesInAcquisition": 7}),
        (None, {"NumberOfSeriesRelatedInstances": 3}),
        (_number(0), {}),
        (_number(267), {}),
        (_number(1, *range(2, 90, 2)), {}),
        (None, {"InstanceNumber": None}),
        (None, {"InstanceNumber": -4}),
    ],
)
def test_nothing_is_said_where_the_count_fits_or_counts_something_else(
    tmp_path: Path, change: Callable[[int, FileDataset], None] | None, tags: dict[str, int | None]
) -> None:
    write_series(tmp_path, positions(7), change=change, **tags)
    assert read_series(tmp_path).warnings == ()


def test_a_localizer_of_the_series_is_one_of_its_instances(tmp_path: Path) -> None:
    write_series(tmp_path / "a", positions(4), NumberOfSeriesRelatedInstances=5)
    write_series(
        tmp_path / "b",
        positions(1),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        NumberOfSeriesRelatedInstances=5,
        change=lambda k, data: setattr(data, "InstanceNumber", 5),
    )
    assert all(entry.lacking == () for entry in list_series(tmp_path).series)


def test_a_file_stored_twice_counts_once(tmp_path: Path) -> None:
    path = write_series(tmp_path, positions(4), NumberOfSeriesRelatedInstances=5)[0]
    (tmp_path / "copy").write_bytes(path.read_bytes())
    (entry,) = list_series(tmp_path).series
    assert [lacking.absent for lacking in entry.lacking] == [1]


def test_each_acquisition_is_counted_by_itself_where_the_number_fits_one_of_them(tmp_path: Path) -> None:
    def change(k: int, data: FileDataset) -> None:
        data.AcquisitionNumber, data.ImagesInAcquisition = 1 + k // 4, 4

    write_series(tmp_path, positions(7), change=change)
    (entry,) = list_series(tmp_path).series
    assert [lacking.text.partition(":")[0] for lacking in entry.lacking] == [
        "1 of 4 image(s) of their acquisition are absent"
    ]


def test_a_number_that_counts_the_series_though_acquisitions_are_slices_is_no_alarm(tmp_path: Path) -> None:
    def change(k: int, data: FileDataset) -> None:
        data.AcquisitionNumber, data.ImagesInAcquisition = k, 7

    write_series(tmp_path, positions(7), change=change)
    assert list_series(tmp_path).series[0].lacking == ()


def test_a_gap_inside_that_is_reported_with_its_place_is_not_reported_again(tmp_path: Path) -> None:
    where = positions(8)
    write_series(tmp_path, where[:3] + where[4:], NumberOfSeriesRelatedInstances=8)
    (entry,) = list_series(tmp_path).series
    assert not any("NumberOfSeries" in line for line in judge_series(entry).findings)
    write_series(tmp_path, where[:3] + where[4:-1], NumberOfSeriesRelatedInstances=8, SeriesInstanceUID="1.2.3")
    (entry,) = (entry for entry in list_series(tmp_path).series if entry.uid == "1.2.3")
    assert any("2 of 8" in line for line in judge_series(entry).findings)
    filled = read_series(tmp_path, "1.2.3", policy=GeometryPolicy(gap="resample"))
    assert any("2 of 8" in line for line in filled.warnings)


def test_a_concatenation_that_lacks_a_file(tmp_path: Path) -> None:
    from pydicom import dcmread

    path = write_enhanced(tmp_path / "a.dcm", positions(4))
    data = dcmread(path)
    data.ConcatenationUID, data.InConcatenationNumber, data.InConcatenationTotalNumber = "1.2.3.4", 1, 2
    data.save_as(path)
    assert any("1 of 2 file(s) of the concatenation are absent" in line for line in read_series(tmp_path).warnings)


def test_frames_are_counted_by_their_position_in_the_stack(tmp_path: Path) -> None:
    def groups(f: int) -> dict[str, object]:
        return {"FrameContentSequence": {"InStackPositionNumber": f + 2}}

    write_enhanced(tmp_path / "a.dcm", positions(6), frame_groups=groups)
    (entry,) = list_series(tmp_path).series
    assert [lacking.text for lacking in entry.lacking] == [
        "1 slice(s) may be missing: InStackPositionNumber goes up to 7 without 1"
    ]


@pytest.mark.filterwarnings("ignore:.*alid")
def test_a_damaged_count_stops_nobody(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3), change=lambda k, d: d.add_new(0x00201209, "IS", "1.5" if k else "3"))
    (entry,) = list_series(tmp_path).series
    assert find_lacking(entry.headers) == ()


@pytest.mark.parametrize(
    ("along", "missing"),
    [([0, 2, 4, 6], 0), ([0, 2, 6, 8, 10], 1), ([0, 2, 4, 4, 6], 0), ([0, 2, 4, 14, 16, 18], 4), ([5], 0), ([], 0)],
)
def test_slices_that_the_gaps_can_hold(along: list[float], missing: int) -> None:
    assert count_missing_inside(np.array(along, np.float64)) == missing


@pytest.mark.parametrize("name", ["lidc", "abdomen_totalseg", "dicom_tilt_ge", "dicom_seg_dcmqi"])
def test_no_real_series_is_said_to_lack_slices(real_data, name: str) -> None:
    assert {entry.lacking for entry in list_series(real_data(name)).series} == {()}
