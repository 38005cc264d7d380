"""One bad structure or segment is refused by itself: the others are read, and everything is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medseg.geometry import Grid
from medseg.io.bounded.choice import ItemChoice
from medseg.io.bounded.errors import DataError
from medseg.io.results.rtstruct_read import read_rtstruct, read_structures
from medseg.io.results.rtstruct_write import write_rtstruct
from medseg.io.results.seg_read import read_seg
from medseg.io.results.seg_write import write_seg
from tests.io._clinical import Example, changed, make_example

NAMES = {1: "liver", 2: "lung"}


@pytest.fixture
def example(tmp_path: Path) -> Example:
    made = make_example(tmp_path / "ct")
    write_rtstruct(tmp_path / "rt.dcm", made.labels, made.affine_ras, made.source, NAMES)
    write_seg(tmp_path / "seg.dcm", made.labels, made.affine_ras, made.source, NAMES)
    return made


def second(data: Dataset) -> Dataset:
    """The first contour of the second structure."""
    return data.ROIContourSequence[1].ContourSequence[0]


def moved(millimetres: tuple[float, float, float]) -> Callable[[Dataset], None]:
    def change(data: Dataset) -> None:
        points = np.array(second(data).ContourData, float).reshape(-1, 3) + millimetres
        second(data).ContourData = points.ravel().round(4).tolist()

    return change


def other_frame(data: Dataset) -> None:
    data.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"


def damaged_points(data: Dataset) -> None:
    second(data).ContourData = [1.0, 2.0]


def wrong_count(data: Dataset) -> None:
    second(data).NumberOfContourPoints = 3


def listed_twice(data: Dataset) -> None:
    data.ROIContourSequence.append(data.ROIContourSequence[1])


BAD_STRUCTURES = pytest.mark.parametrize(
    ("change", "reason"),
    [
        (moved((0, 0, 500.0)), "beyond the 5 slices of the grid; give the whole series"),
        (moved((0, 0, 0.9)), "a contour lies 0.900 mm off the nearest slice"),
        (other_frame, "lies in frame of reference 1.2.3"),
        (damaged_points, "contour 1 of 'lung': 2 values in ContourData, expected triples"),
        (wrong_count, "contour 1 of 'lung': NumberOfContourPoints is 3"),
        (listed_twice, "contours of structure 2, which is listed twice or not at all"),
    ],
)


@BAD_STRUCTURES
def test_a_structure_that_cannot_be_used_is_refused_by_itself(
    example: Example, tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    path = changed(tmp_path / "rt.dcm", change)
    with pytest.raises(DataError, match=r"lung|structure 2"):
        read_rtstruct(path, example.source)
    masks = read_rtstruct(path, example.source, allow_partial=True)
    assert [segment.info.name for segment in masks.segments] == ["liver"]
    assert np.array_equal(masks.mask(0), example.labels == 1)
    (refused,) = masks.refused
    assert (refused.number, refused.name) == (2, "lung")
    assert reason in refused.reason
    assert str(path) not in refused.reason
    skipped = read_rtstruct(path, example.source, choice=ItemChoice(skip=("lung",)))
    assert np.array_equal(skipped.mask(0), masks.mask(0))
    assert (skipped.refused, skipped.left_out) == ((), ("lung",))
    with pytest.raises(DataError, match=r"lung|structure 2"):
        read_rtstruct(path, example.source, choice=ItemChoice(only=("2",)), allow_partial=True)


def test_contours_of_a_structure_that_is_not_listed_are_named_by_number(example: Example, tmp_path: Path) -> None:
    path = changed(tmp_path / "rt.dcm", lambda d: setattr(d.ROIContourSequence[1], "ReferencedROINumber", 9))
    with pytest.raises(DataError, match="contours of structure 9"):
        read_structures(path)
    masks = read_rtstruct(path, example.source, allow_partial=True)
    assert [(row.number, row.name) for row in masks.refused] == [(9, "structure 9")]
    assert masks.warnings == ("'lung': it has no contours; its mask is empty",)


def test_if_no_structure_can_be_used_the_file_is_refused_with_the_count(example: Example, tmp_path: Path) -> None:
    def both(data: Dataset) -> None:
        for item in data.ROIContourSequence:
            item.ContourSequence[0].ContourData = [1.0]

    with pytest.raises(DataError, match=r"'liver': contour 1 of 'liver'.*and the same or other faults in 1 more"):
        read_rtstruct(changed(tmp_path / "rt.dcm", both), example.source, allow_partial=True)


def test_a_structure_drawn_on_other_planes_does_not_turn_the_others(example: Example, tmp_path: Path) -> None:
    def sagittal(data: Dataset) -> None:
        points = np.array(second(data).ContourData, float).reshape(-1, 3)
        (x, y, z), (width, height, _) = points.min(axis=0), np.ptp(points, axis=0)
        corners = [(0, 0), (height, 0), (height, 5.0), (0, 5.0)]  # a rectangle across two slices
        column = x + width / 4  # through the centres of a column of voxels
        data.ROIContourSequence[1].ContourSequence = [data.ROIContourSequence[1].ContourSequence[0]]
        second(data).ContourData = [v for dy, dz in corners for v in (column, y + dy, z - 1.25 + dz)]
        second(data).NumberOfContourPoints = 4

    masks = read_rtstruct(changed(tmp_path / "rt.dcm", sagittal), example.source, allow_partial=True)
    assert masks.refused == ()
    assert np.array_equal(masks.mask(0), example.labels == 1)
    columns, rows, slices = (np.unique(axis) for axis in np.nonzero(masks.mask(1)))
    assert (len(columns), len(rows), len(slices)) == (1, 2, 2)


def no_contours(data: Dataset) -> None:
    del data.ROIContourSequence[1].ContourSequence


def no_item(data: Dataset) -> None:
    del data.ROIContourSequence[1]


def point_only(data: Dataset) -> None:
    data.ROIContourSequence[1].ContourSequence = [second(data)]
    second(data).ContourGeometricType, second(data).NumberOfContourPoints = "POINT", 1
    second(data).ContourData = list(second(data).ContourData)[:3]


def between_centres(data: Dataset) -> None:
    data.ROIContourSequence[1].ContourSequence = [second(data)]
    points = np.array(second(data).ContourData, float).reshape(-1, 3)
    second(data).ContourData = (points[0] + (points - points[0]) * 0.01).ravel().round(5).tolist()


def beside_the_image(data: Dataset) -> None:
    data.ROIContourSequence[1].ContourSequence = [second(data)]
    moved((400.0, 0, 0))(data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_contours, "it has no contours"),
        (no_item, "it has no contours"),
        (point_only, "its contours enclose the centre of no voxel"),
        (between_centres, "its contours enclose the centre of no voxel"),
        (beside_the_image, "its contours enclose the centre of no voxel"),
    ],
)
def test_an_empty_structure_is_named(
    example: Example, tmp_path: Path, change: Callable[[Dataset], None], says: str
) -> None:
    masks = read_rtstruct(changed(tmp_path / "rt.dcm", change), example.source)
    assert not masks.mask(1).any()
    assert f"'lung': {says}; its mask is empty" in masks.warnings


def frames_of(data: Dataset, number: int) -> list[Dataset]:
    return [
        item
        for item in data.PerFrameFunctionalGroupsSequence
        if item.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
    ]


def shift_frame(millimetres: tuple[float, float, float]) -> Callable[[Dataset], None]:
    def change(data: Dataset) -> None:
        item = frames_of(data, 2)[0].PlanePositionSequence[0]
        item.ImagePositionPatient = (np.array(item.ImagePositionPatient, float) + millimetres).tolist()

    return change


def turn_frame(data: Dataset) -> None:
    orientation = Dataset()
    orientation.ImageOrientationPatient = [0.6, 0.8, 0, -0.8, 0.6, 0]
    frames_of(data, 2)[0].PlaneOrientationSequence = [orientation]


def lose_position(data: Dataset) -> None:
    del frames_of(data, 2)[0].PlanePositionSequence


def repeat_frame(data: Dataset) -> None:
    first, other = frames_of(data, 2)
    other.PlanePositionSequence = first.PlanePositionSequence


BAD_SEGMENTS = pytest.mark.parametrize(
    ("change", "reason"),
    [
        (shift_frame((0, 0, 2500.0)), "frames lie outside the 5 slices of the grid"),
        (shift_frame((0, 0, 1.0)), "frames lie up to 1.000 mm off the slices of the grid"),
        (shift_frame((0.4, 0, 0)), "frames lie up to 0.400 mm off the slices of the grid"),
        (turn_frame, "frames of different orientations"),
        (lose_position, "has no ImagePositionPatient"),
        (repeat_frame, "two frames of segment 2 on slice"),
    ],
)


@BAD_SEGMENTS
def test_a_segment_that_cannot_be_used_is_refused_by_itself(
    example: Example, tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    path = changed(tmp_path / "seg.dcm", change)
    with pytest.raises(DataError, match=r"frame"):
        read_seg(path, example.source)
    masks = read_seg(path, example.source, allow_partial=True)
    assert np.array_equal(masks.mask(0), example.labels == 1)
    assert [(row.number, row.name) for row in masks.refused] == [(2, "lung")]
    assert reason in masks.refused[0].reason
    skipped = read_seg(path, example.source, choice=ItemChoice(skip=("2",)))
    assert np.array_equal(skipped.mask(0), masks.mask(0))
    assert (skipped.refused, skipped.left_out) == ((), ("lung",))
    with pytest.raises(DataError, match=r"frame"):
        read_seg(path, example.source, choice=ItemChoice(only=("lung",)), allow_partial=True)


def test_without_a_grid_a_segment_that_has_none_of_its_own_is_refused(example: Example, tmp_path: Path) -> None:
    path = changed(tmp_path / "seg.dcm", turn_frame)
    masks = read_seg(path, allow_partial=True)
    assert [row.name for row in masks.refused] == ["lung"]
    assert masks.mask(0).sum() == (example.labels == 1).sum()


def test_without_a_grid_segments_on_different_ones_must_be_chosen(example: Example, tmp_path: Path) -> None:
    def shift_all(data: Dataset) -> None:
        for item in frames_of(data, 2):
            position = item.PlanePositionSequence[0].ImagePositionPatient
            position[2] = float(position[2]) + 0.9

    path = changed(tmp_path / "seg.dcm", shift_all)
    with pytest.raises(DataError, match="lie on different grids: choose those of one grid with --only NAME or --skip"):
        read_seg(path, allow_partial=True)
    for name, value in (("liver", 1), ("lung", 2)):
        masks = read_seg(path, choice=ItemChoice(only=(name,)))
        assert masks.mask(0).sum() == (example.labels == value).sum()


def test_frames_of_a_segment_that_is_not_described_are_named_by_number(example: Example, tmp_path: Path) -> None:
    def renumber(data: Dataset) -> None:
        for item in frames_of(data, 2):
            item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9

    masks = read_seg(changed(tmp_path / "seg.dcm", renumber), example.source, allow_partial=True)
    assert [(row.number, row.name) for row in masks.refused] == [(9, "segment 9")]
    assert "'lung': no frame shows it; its mask is empty" in masks.warnings
    assert np.array_equal(masks.mask(0), example.labels == 1)


def test_a_label_that_is_not_described_does_not_spoil_a_label_map(example: Example, tmp_path: Path) -> None:
    path = tmp_path / "map.dcm"
    write_seg(path, example.labels, example.affine_ras, example.source, NAMES, kind="labelmap")
    bad = changed(path, lambda data: data.SegmentSequence.pop())
    with pytest.raises(DataError, match="holds 2, described are segments"):
        read_seg(bad, example.source)
    masks = read_seg(bad, example.source, allow_partial=True)
    assert [(row.number, row.name) for row in masks.refused] == [(2, "segment 2")]
    assert np.array_equal(masks.mask(0), example.labels == 1)


def test_fractions_beyond_the_largest_refuse_their_segment(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "f.dcm"
    data = pydicom.dcmread(real_data("dicom_seg_highdicom") / "seg_image_ct_true_fractional.dcm")
    data.MaximumFractionalValue = 100
    data.save_as(path)
    with pytest.raises(DataError, match="expected at most 100"):
        read_seg(path, allow_partial=True)


def test_axes_of_a_given_grid_may_run_otherwise_for_every_segment(example: Example, tmp_path: Path) -> None:
    turned = np.transpose(example.labels, (2, 0, 1))[::-1]
    affine = example.affine_ras[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * (turned.shape[0] - 1)
    affine[:3, 0] *= -1
    path = changed(tmp_path / "seg.dcm", shift_frame((0, 0, 2500.0)))
    masks = read_seg(path, Grid(affine, turned.shape), allow_partial=True)
    assert np.array_equal(masks.mask(0), turned == 1)
    assert masks.shape == turned.shape


@pytest.mark.parametrize("numbers", [(4002, 4003), (1, 3), (2, 1)], ids=["high", "gap", "in another order"])
def test_unusual_segment_numbers_are_kept_and_named(example: Example, tmp_path: Path, numbers: tuple[int, int]) -> None:
    def renumber(data: Dataset) -> None:
        for old, new in zip((1, 2), (n + 10_000 for n in numbers), strict=True):
            for item in frames_of(data, old):
                item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = new
        for item, new in zip(data.SegmentSequence, numbers, strict=True):
            item.SegmentNumber = new
        for item in data.PerFrameFunctionalGroupsSequence:
            item.SegmentIdentificationSequence[0].ReferencedSegmentNumber -= 10_000

    masks = read_seg(changed(tmp_path / "seg.dcm", renumber), example.source)
    by_number = {segment.info.number: index for index, segment in enumerate(masks.segments)}
    assert np.array_equal(masks.mask(by_number[numbers[0]]), example.labels == 1)
    noted = [line for line in masks.warnings if "segments are numbered" in line]
    assert noted == (
        [] if sorted(numbers) == [1, 2] else [
            f"segments are numbered {numbers[0]}, {numbers[1]}, the standard has 1 to 2; the numbers are kept, other "
            "programs may refuse them"
        ]
    )  # fmt: skip


@pytest.mark.parametrize("number", [0, -3, 70000])
def test_numbers_that_are_no_labels_make_no_label_map(example: Example, tmp_path: Path, number: int) -> None:
    def renumber(data: Dataset) -> None:
        data.StructureSetROISequence[1].ROINumber = number
        data.ROIContourSequence[1].ReferencedROINumber = number
        data.RTROIObservationsSequence[1].ReferencedROINumber = number

    masks = read_rtstruct(changed(tmp_path / "rt.dcm", renumber), example.source)
    assert sum(masks.mask(index).sum() for index in range(2)) == (example.labels > 0).sum()
    with pytest.raises(DataError, match=rf"'lung' has the number {number}, expected 1 to 65535 in a label map"):
        masks.label_map()


def test_a_choice_of_what_is_not_there_is_refused(example: Example, tmp_path: Path) -> None:
    read: list[tuple[Any, Path]] = [(read_seg, tmp_path / "seg.dcm"), (read_rtstruct, tmp_path / "rt.dcm")]
    for reader, path in read:
        with pytest.raises(DataError, match=r"--only 'heart' is the name of no (segment|structure); found liver = 1"):
            reader(path, example.source, choice=ItemChoice(only=("heart",)))
