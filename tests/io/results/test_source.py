from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medseg.geometry import corner_displacement_mm, make_affine
from medseg.io.bounded.errors import DataError, SeriesGeometryError, UnreadableFileError
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.series import read_series
from medseg.io.results.source import place_on_source, read_source, source_of
from tests.io._clinical import SHAPE, SPACING, blocks, make_example, store_otherwise
from tests.io._dicom_files import positions, write_series

FRAME = "1.2.9"


def test_the_grid_is_that_of_the_image_reader(tmp_path: Path) -> None:
    write_series(tmp_path, positions(4), FrameOfReferenceUID=FRAME)
    source, image = read_source(tmp_path), read_series(tmp_path)
    assert source.shape == image.array.shape
    assert np.array_equal(source.affine_ras, image.affine_ras)
    assert [reference.instance_uid for reference in source.references] == list(image.sop_instance_uids)
    assert source.frame_of_reference_uid == FRAME


def test_the_source_of_a_series_in_memory_is_the_same_without_a_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path, positions(4), FrameOfReferenceUID=FRAME)
    expected, series = read_source(tmp_path), read_series(tmp_path)
    monkeypatch.setattr("medseg.io.results.source.list_series", None)
    source = source_of(series)
    assert source.references == expected.references
    assert np.array_equal(source.affine_ras, expected.affine_ras)
    assert source.headers == expected.headers


def test_a_volume_that_was_not_read_from_files_has_no_source(tmp_path: Path) -> None:
    write_series(tmp_path, positions(4), FrameOfReferenceUID=FRAME)
    with pytest.raises(DataError, match="was not read from files"):
        source_of(replace(read_series(tmp_path), stack=None))


def test_the_source_of_a_series_whose_gap_was_filled_is_its_original_slices(tmp_path: Path) -> None:
    write_series(tmp_path, [(0.0, 0.0, 2.5 * k) for k in (0, 1, 3, 4)], FrameOfReferenceUID=FRAME)
    filled = read_series(tmp_path, policy=GeometryPolicy(gap="resample"))
    source = source_of(filled)
    assert source.shape == filled.array.shape == (5, 6, 5)
    assert [reference.instance_uid for reference in source.references] == [
        uid for uid in filled.sop_instance_uids if uid
    ]
    assert source.repairs == filled.repairs


@pytest.mark.parametrize("gaps", [(0, 1, 3, 4), (0, 1, 1, 2), (0, 1, 2.4, 3)])
def test_missing_duplicate_and_uneven_slices_are_refused(tmp_path: Path, gaps: tuple[float, ...]) -> None:
    where = [(0.0, 0.0, 2.5 * gap) for gap in gaps]
    write_series(tmp_path, where, FrameOfReferenceUID=FRAME)
    with pytest.raises(SeriesGeometryError, match="complete, even series"):
        read_source(tmp_path)


def test_the_spacing_of_tilted_slices_is_measured_along_their_normal(tmp_path: Path) -> None:
    write_series(tmp_path, [(0.0, 1.0 * k, 2.5 * k) for k in range(4)], FrameOfReferenceUID=FRAME)
    assert read_source(tmp_path).slice_spacing_mm == pytest.approx(2.5)


def test_one_slice_takes_its_extent_from_its_thickness(tmp_path: Path) -> None:
    write_series(tmp_path, positions(1), FrameOfReferenceUID=FRAME)
    source = read_source(tmp_path)
    assert source.shape == (5, 6, 1)
    assert source.slice_spacing_mm == 9.0


@pytest.mark.trap("4.3-17")
@pytest.mark.parametrize("name", ["23x38x3", "24x38x3"])
def test_a_multi_frame_series_has_the_grid_of_its_single_frames(real_data: Callable[[str], Path], name: str) -> None:
    folder = real_data("dicom_seg_dcmqi") / name
    single, multi = read_source(folder / "image"), read_source(folder / "multiframe")
    assert single.shape == multi.shape
    assert corner_displacement_mm(single.affine_ras, multi.affine_ras, single.shape) < 1e-4
    assert sorted(reference.frame_number or 0 for reference in multi.references) == [1, 2, 3]
    assert {reference.frame_number for reference in single.references} == {None}
    assert len(multi.headers) == 1


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("FrameOfReferenceUID", "FrameOfReferenceUID"),
        ("StudyInstanceUID", "StudyInstanceUID"),
        ("SOPInstanceUID", "SOPInstanceUID absent"),
    ],
)
def test_a_series_that_results_cannot_refer_to_is_refused(tmp_path: Path, keyword: str, words: str) -> None:
    tags = {"FrameOfReferenceUID": FRAME, keyword: ""}
    write_series(tmp_path, positions(3), **tags)
    with pytest.raises(DataError, match=words):
        read_source(tmp_path)


def test_two_patients_in_one_series_are_refused_without_naming_them(tmp_path: Path) -> None:
    def rename(k: int, data: pydicom.FileDataset) -> None:
        data.PatientID = f"canary-{k % 2}"

    write_series(tmp_path, positions(4), change=rename, FrameOfReferenceUID=FRAME)
    with pytest.raises(DataError, match="2 values of PatientID") as caught:
        read_source(tmp_path)
    assert "canary" not in str(caught.value)


def test_a_damaged_file_beside_the_slices_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3), FrameOfReferenceUID=FRAME)
    (tmp_path / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0")
    with pytest.raises(UnreadableFileError, match=r"cut\.dcm"):
        read_source(tmp_path)


def test_absent_patient_attributes_are_empty_so_that_results_can_repeat_them(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3), FrameOfReferenceUID=FRAME)
    fields = read_source(tmp_path).joining_fields()
    assert fields["PatientName"] == "Synthetic^Person"
    assert fields["AccessionNumber"] == fields["PatientSex"] == ""


def test_a_class_that_was_cleared_is_taken_from_the_file_meta_group(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3), FrameOfReferenceUID=FRAME, SOPClassUID="")
    assert read_source(tmp_path).references[0].class_uid == "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("axes", "flips"), [((0, 1, 2), (False, True, False)), ((2, 0, 1), (True, False, True)), ((1, 0, 2), (False,) * 3)]
)
def test_a_mask_in_another_order_is_put_right_by_its_affine(
    tmp_path: Path, axes: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    example = make_example(tmp_path / "ct")
    mask, affine = store_otherwise(example.labels, example.affine_ras, axes, flips)
    assert np.array_equal(place_on_source(mask, affine, example.source), example.labels)
    stacked = np.stack([mask == 1, mask == 2])
    placed = place_on_source(stacked, affine, example.source)
    assert np.array_equal(placed[1], example.labels == 2)


@pytest.mark.trap("4.3-07")
@pytest.mark.parametrize(
    ("spacing", "origin", "shape", "words"),
    [
        (SPACING, (-31.0, 12.5, 143.0), SHAPE, r"corners lie up to 3\.000 mm apart"),
        ((0.7, 0.8, 2.6), (-31.0, 12.5, 140.0), SHAPE, r"corners lie up to 0\.400 mm apart"),
        (SPACING, (-31.0, 12.5, 140.0), (9, 7, 4), r"9 x 7 x 4 of 0\.7 x 0\.8 x 2\.5 mm.*centres 1\.250 mm apart"),
        ((1.4, 1.6, 2.5), (-31.0, 12.5, 140.0), (5, 4, 5), "grids of different shapes"),
    ],
)
def test_a_mask_on_another_grid_is_refused_with_the_difference_in_mm(
    tmp_path: Path, spacing: tuple[float, ...], origin: tuple[float, ...], shape: tuple[int, int, int], words: str
) -> None:
    example = make_example(tmp_path / "ct")
    with pytest.raises(DataError, match=words) as caught:
        place_on_source(np.zeros(shape, np.uint8), make_affine(spacing, origin, "LPS"), example.source)
    assert "resample" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_flipped_mask_is_refused_and_not_mirrored(tmp_path: Path) -> None:
    example = make_example(tmp_path / "ct")
    wrong = example.affine_ras.copy()
    wrong[:, 0] *= -1
    with pytest.raises(DataError, match="run the other way"):
        place_on_source(blocks(), wrong, example.source)
