from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from medseg.io.bounded.errors import SeriesChoiceError, SeriesGeometryError
from medseg.io.ct.groups import group_series
from medseg.io.ct.header import SliceHeader
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.scan import choose_series, list_series
from medseg.io.ct.series import read_series
from tests.io._dicom_files import SERIES_UID, make_slice, positions, stored_pixels, write_series

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def _kinds(folder: Path) -> dict[str, str]:
    return {entry.name: entry.kind for entry in list_series(folder).series}


def _capture(k: int, data: object) -> None:
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(data, keyword)


def test_a_localizer_of_the_same_series_is_told_apart_and_named(tmp_path: Path) -> None:
    write_series(tmp_path / "axial", positions(4))
    write_series(tmp_path / "scout", positions(1), SAGITTAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert _kinds(tmp_path) == {f"{SERIES_UID}#1": "ct", f"{SERIES_UID}#2": "localizer"}
    series = read_series(tmp_path)
    assert series.array.shape == (5, 6, 4)
    assert series.name == f"{SERIES_UID}#1"
    assert any(f"{SERIES_UID}#2 [CT, 1 files, localizer" in line for line in series.warnings)


def test_a_secondary_capture_is_told_apart_and_named(tmp_path: Path) -> None:
    write_series(tmp_path / "axial", positions(4))
    write_series(tmp_path / "dose", positions(1), change=_capture, SeriesInstanceUID="1.2.3.4")
    assert _kinds(tmp_path) == {SERIES_UID: "ct", "1.2.3.4": "secondary capture"}
    assert read_series(tmp_path).array.shape[2] == 4
    with pytest.raises(
        SeriesChoiceError, match=r"1\.2\.3\.4 \[CT, 1 files, secondary capture.*expected slices of a CT"
    ):
        read_series(tmp_path, "1.2.3.4")


def test_other_modalities_and_objects_are_listed_apart(tmp_path: Path) -> None:
    write_series(tmp_path / "mr", positions(3), Modality="MR", SeriesInstanceUID="1.2.3.4")
    write_series(tmp_path / "seg", positions(1), Modality="SEG", SeriesInstanceUID="1.2.3.5")
    listing = list_series(tmp_path)
    assert [(entry.uid, entry.kind) for entry in listing.series] == [("1.2.3.4", "other modality")]
    assert [(entry.uid, entry.kind) for entry in listing.objects] == [("1.2.3.5", "object")]
    assert listing.other_objects == 1


class TestSeveralGrids:
    @pytest.fixture
    def mixed(self, tmp_path: Path) -> Path:
        write_series(tmp_path / "a", positions(4))
        write_series(tmp_path / "b", positions(3, orientation=SAGITTAL), SAGITTAL)
        write_series(tmp_path / "c", positions(5), PixelSpacing=[0.7, 0.61])
        make_slice(stored_pixels(0, (4, 4)), (0, 0, 99)).save_as(tmp_path / "d", enforce_file_format=True)
        return tmp_path

    def test_each_is_described_with_its_number(self, mixed: Path) -> None:
        with pytest.raises(SeriesGeometryError) as caught:
            read_series(mixed)
        text = str(caught.value)
        for words in ("mixes 4 grids", "#1 4 files", "#2 3 files", "#3 5 files", "--series UID#N", "0.7 x 0.61"):
            assert words in text

    @pytest.mark.parametrize(("choice", "slices"), [("#1", 4), ("#2", 3), (f"{SERIES_UID}#3", 5)])
    def test_one_is_chosen_by_its_number(self, mixed: Path, choice: str, slices: int) -> None:
        assert read_series(mixed, choice).array.shape[2] == slices

    def test_a_number_that_does_not_exist(self, mixed: Path) -> None:
        with pytest.raises(SeriesChoiceError, match=f"no series {SERIES_UID}#9; found {SERIES_UID}#1"):
            read_series(mixed, f"{SERIES_UID}#9")

    def test_the_only_grid_of_a_series_is_number_one(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(3))
        assert choose_series(list_series(tmp_path), f"{SERIES_UID}#1").name == SERIES_UID

    def test_numbers_follow_the_paths_and_not_the_file_system(self, mixed: Path) -> None:
        assert [entry.group for entry in list_series(mixed).series] == [1, 2, 3, 4]
        assert [entry.headers[0].path.parent.name for entry in list_series(mixed).series][:3] == ["a", "b", "c"]


def test_cosines_that_differ_by_rounding_stay_together(tmp_path: Path) -> None:
    def change(k: int, data: object) -> None:
        data.ImageOrientationPatient = [1, 0, 1e-5 * (k % 2), 0, 1, 0]
        data.PixelSpacing = [0.7, 0.6 + 1e-5 * (k % 3)]

    write_series(tmp_path, positions(6), change=change)
    assert read_series(tmp_path).array.shape[2] == 6


def test_acquisitions_at_different_positions_stay_one_volume(tmp_path: Path) -> None:
    write_series(tmp_path, positions(6), change=lambda k, d: setattr(d, "AcquisitionNumber", k))
    assert read_series(tmp_path).array.shape[2] == 6


def test_passes_that_meet_at_one_position_stay_one_volume_with_a_duplicate(tmp_path: Path) -> None:
    where = positions(9)
    write_series(
        tmp_path,
        [*where[:5], *where[4:]],
        change=lambda k, d: setattr(d, "AcquisitionNumber", 1 + k // 5),
        shows=[*range(5), *range(4, 9)],
    )
    assert len(list_series(tmp_path).series) == 1
    series = read_series(tmp_path, policy=GeometryPolicy(duplicate="keep-lowest"))
    assert series.array.shape[2] == 9


def test_many_different_headers_end_soon(tmp_path: Path) -> None:
    values = {"Modality": "CT", "Rows": 6, "Columns": 5}
    headers = [
        SliceHeader(tmp_path, "1", "", "", {**values, "PixelSpacing": (1.0, 0.5 + n / 99)})
        for n in np.random.default_rng(0).permutation(2000)
    ]
    entries = group_series("1", headers)
    assert len(entries) == 2000
    assert all(len(entry.headers) == 1 for entry in entries)
