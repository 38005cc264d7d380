"""Several images of one place in one series: named sets where a tag explains them, copies, or an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from medseg.io.bounded.errors import SeriesGeometryError
from medseg.io.ct.phases import PHASE_TAGS, split_by_phase
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_series
from medseg.io.ct.verdict import judge_series
from tests.io._dicom_files import SERIES_UID, positions, stored_pixels, write_series
from tests.io._enhanced_files import write_enhanced

KEEP = GeometryPolicy(duplicate="keep-lowest")
COUNT = 4


def _two_phases(folder: Path, change: Callable[[int, int, FileDataset], None]) -> None:
    """Two phases of four slices whose InstanceNumbers interleave 1 4 5 8 and 2 3 6 7; phase 1 shows other pixels."""
    numbers = [1, 4, 5, 8, 2, 3, 6, 7]

    def both(k: int, data: FileDataset) -> None:
        data.InstanceNumber = numbers[k]
        change(k // COUNT, k % COUNT, data)

    write_series(folder, [*positions(COUNT), *positions(COUNT)], change=both)


def _last_of_the_first_phase(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.name.endswith(f"_{COUNT - 1}"))


def _shown(folder: Path, choice: str) -> list[int]:
    """Which `stored_pixels` the slices of a choice show."""
    array = read_series(folder, choice).array
    return [int(array[0, 0, k] + 1024 - 1000) // 100 for k in range(array.shape[2])]


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        ("TriggerTime", ("0", "400")),
        ("TemporalPositionIdentifier", (1, 2)),
        ("TemporalPositionIndex", (1, 2)),
        ("NominalPercentageOfCardiacPhase", (30.0, 70.0)),
        ("AcquisitionNumber", (5, 6)),
        ("AcquisitionTime", ("101500.25", "101512")),
        ("ContentTime", ("235959", "000010")),
        ("AcquisitionDateTime", ("20240229235959", "20240301000010.5")),
        ("ImageType", (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "AXIAL"])),
        ("ConvolutionKernel", ("B31f", "B70f")),
        ("KVP", ("80", "140")),
    ],
)
def test_a_tag_that_tells_two_complete_sets_apart_makes_named_groups(
    tmp_path: Path, tag: str, values: tuple[object, object]
) -> None:
    _two_phases(tmp_path, lambda phase, k, data: setattr(data, tag, values[phase]))
    entries = list_series(tmp_path).series
    assert [entry.name for entry in entries] == [f"{SERIES_UID}#1", f"{SERIES_UID}#2"]
    assert all(entry.told_by.startswith(tag) for entry in entries)
    assert [judge_series(entry).status for entry in entries] == ["ok", "ok"]
    with pytest.raises(SeriesGeometryError, match=r"mixes 2 grids .* choose one with --series UID#N"):
        read_series(tmp_path, policy=KEEP)
    assert sorted([_shown(tmp_path, "#1"), _shown(tmp_path, "#2")]) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_clock_that_ticks_for_each_slice_is_cut_where_the_positions_begin_again(tmp_path: Path) -> None:
    _two_phases(tmp_path, lambda phase, k, data: setattr(data, "ContentTime", f"1200{10 * phase + 2 * k:02d}"))
    assert [entry.told_by for entry in list_series(tmp_path).series] == [
        "ContentTime +0 to 6 s",
        "ContentTime +10 to 16 s",
    ]
    assert _shown(tmp_path, "#2") == [4, 5, 6, 7]


def test_a_table_that_returns_is_two_sets(tmp_path: Path) -> None:
    def change(phase: int, k: int, data: FileDataset) -> None:
        data.AcquisitionTime = f"1200{(k if phase == 0 else 7 - k):02d}"

    _two_phases(tmp_path, change)
    assert _shown(tmp_path, "#1") == [0, 1, 2, 3]
    assert _shown(tmp_path, "#2") == [4, 5, 6, 7]


def test_a_slice_that_could_belong_to_either_set_is_put_into_none(tmp_path: Path) -> None:
    """The table returns, and the last slice of the first phase is absent: by time alone it could be the other's."""

    def change(phase: int, k: int, data: FileDataset) -> None:
        data.AcquisitionTime = f"1200{(k if phase == 0 else 6 - k):02d}"

    _two_phases(tmp_path, change)
    _last_of_the_first_phase(tmp_path).unlink()
    (entry,) = list_series(tmp_path).series
    assert judge_series(entry).status == "refused"


def test_a_pause_between_the_phases_tells_them_apart_though_a_slice_is_missing(tmp_path: Path) -> None:
    _two_phases(tmp_path, lambda phase, k, data: setattr(data, "AcquisitionTime", f"1200{30 * phase + k:02d}"))
    _last_of_the_first_phase(tmp_path).unlink()
    assert [len(entry.headers) for entry in list_series(tmp_path).series] == [3, 4]


def test_two_tags_together_tell_four_sets_apart(tmp_path: Path) -> None:
    def change(k: int, data: FileDataset) -> None:
        data.AcquisitionNumber, data.TriggerTime = 1 + k // 8, 100 * (k // 4 % 2)

    write_series(tmp_path, positions(COUNT) * 4, change=change)
    entries = list_series(tmp_path).series
    assert {entry.told_by for entry in entries} == {
        f"TriggerTime {time}, AcquisitionNumber {number}" for number in (1, 2) for time in (0, 100)
    }
    assert sorted(_shown(tmp_path, f"#{n}")[0] for n in (1, 2, 3, 4)) == [0, 4, 8, 12]


def test_different_images_without_such_a_tag_are_an_error_that_names_the_tags(tmp_path: Path) -> None:
    _two_phases(tmp_path, lambda phase, k, data: setattr(data, "ContentTime", "101112"))
    for policy in (GeometryPolicy(), KEEP):
        with pytest.raises(SeriesGeometryError) as caught:
            read_series(tmp_path, policy=policy)
        assert "at 4 of 4 position(s) the pixels differ, by up to 400 HU" in str(caught.value)
        assert "ContentTime (1 value); absent: " in str(caught.value)
        assert all(tag in str(caught.value) for tag in PHASE_TAGS)
        assert "--on-duplicate" not in str(caught.value)
    (entry,) = list_series(tmp_path).series
    verdict = judge_series(entry)
    assert (verdict.status, verdict.fix) == ("refused", "")
    assert "the pixels differ" in " ".join(verdict.findings)
    assert str(tmp_path) not in str(verdict)
    assert "IM" not in str(verdict)


def test_one_different_pair_among_copies_is_enough_for_the_error(tmp_path: Path) -> None:
    write_series(tmp_path, [*positions(4), *positions(3)], shows=[0, 1, 2, 3, 0, 1, 9])
    with pytest.raises(SeriesGeometryError, match="at 1 of 3 position"):
        read_series(tmp_path, policy=KEEP)


def test_copies_are_offered_the_option_that_keeps_one(tmp_path: Path) -> None:
    write_series(tmp_path, [*positions(4), *positions(4)], shows=[0, 1, 2, 3] * 2)
    (entry,) = list_series(tmp_path).series
    assert judge_series(entry).fix == "--on-duplicate keep-lowest"
    assert read_series(tmp_path, policy=KEEP).repairs[0]["identical_pixels"] == 4


def test_equal_stored_values_with_another_rescale_are_different_images(tmp_path: Path) -> None:
    def change(k: int, data: FileDataset) -> None:
        data.RescaleIntercept = -1024 if k < 4 else 0

    write_series(tmp_path, [*positions(4), *positions(4)], change=change, shows=[0, 1, 2, 3] * 2)
    with pytest.raises(SeriesGeometryError, match="by up to 1024 HU"):
        read_series(tmp_path, policy=KEEP)


def test_files_stored_twice_do_not_hide_the_phases(tmp_path: Path) -> None:
    _two_phases(tmp_path / "a", lambda phase, k, data: setattr(data, "TriggerTime", str(400 * phase)))
    (tmp_path / "b").mkdir()
    for path in sorted((tmp_path / "a").iterdir()):
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    entries = list_series(tmp_path).series
    assert [len(entry.headers) for entry in entries] == [8, 8]
    assert [judge_series(entry).fix for entry in entries] == ["--on-duplicate keep-lowest"] * 2
    assert set(_shown_kept(tmp_path, "#2")) == {4, 5, 6, 7}


def _shown_kept(folder: Path, choice: str) -> list[int]:
    array = read_series(folder, choice, policy=KEEP).array
    return [int(array[0, 0, k] + 1024 - 1000) // 100 for k in range(array.shape[2])]


def test_an_acquisition_number_for_each_slice_does_not_scatter_a_series_with_one_copy(tmp_path: Path) -> None:
    write_series(
        tmp_path,
        [*positions(6), positions(6)[2]],
        change=lambda k, data: setattr(data, "AcquisitionNumber", k),
        shows=[0, 1, 2, 3, 4, 5, 2],
    )
    (entry,) = list_series(tmp_path).series
    assert judge_series(entry).fix == "--on-duplicate keep-lowest"


def test_a_slice_scanned_again_is_a_set_beside_the_whole_volume(tmp_path: Path) -> None:
    write_series(
        tmp_path,
        [*positions(6), positions(6)[2]],
        change=lambda k, data: setattr(data, "AcquisitionNumber", 1 + k // 6),
    )
    assert _shown(tmp_path, "#1") == [0, 1, 2, 3, 4, 5]
    assert len(list_series(tmp_path).series[1].headers) == 1


def test_frames_of_one_file_are_told_apart_by_their_functional_groups(tmp_path: Path) -> None:
    def groups(f: int) -> dict[str, object]:
        return {"FrameContentSequence": {"TemporalPositionIndex": 1 + f % 2}}

    where = [place for place in positions(3) for _ in range(2)]
    write_enhanced(tmp_path / "a.dcm", where, frame_groups=groups)
    assert [entry.told_by for entry in list_series(tmp_path).series] == [
        "TemporalPositionIndex 1",
        "TemporalPositionIndex 2",
    ]
    second = read_series(tmp_path, "#2")
    assert second.frame_numbers == (2, 4, 6)
    assert np.array_equal(second.array[:, :, 0], (stored_pixels(1) - 1024).T)


def test_neither_a_time_of_day_nor_a_private_text_is_told(tmp_path: Path) -> None:
    _two_phases(tmp_path / "a", lambda phase, k, data: setattr(data, "AcquisitionTime", f"1015{30 * phase:02d}"))
    _two_phases(tmp_path / "b", lambda phase, k, data: setattr(data, "ConvolutionKernel", ["SMITH", "JONES"][phase]))
    first, second = (list_series(tmp_path / name).series[1] for name in "ab")
    assert first.told_by == "AcquisitionTime +30 s"
    assert second.told_by == "ConvolutionKernel (hidden) (value 1 of 2)"


def test_slices_without_positions_are_left_together(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3), ImagePositionPatient=None)
    (entry,) = list_series(tmp_path).series
    assert [found.told_by for found in split_by_phase(entry.headers)] == [""]


@pytest.mark.parametrize("name", ["lidc", "abdomen_totalseg", "dicom_tilt_ge", "dicom_seg_dcmqi"])
def test_no_real_series_is_parted(real_data, name: str) -> None:
    assert {entry.told_by for entry in list_series(real_data(name)).series} == {""}
