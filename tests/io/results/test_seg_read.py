from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medseg.geometry import Grid, corner_displacement_mm, make_affine, spacing_of
from medseg.io.bounded.errors import DataError, SeriesGeometryError, UnreadableFileError
from medseg.io.results.seg_read import read_seg
from medseg.io.results.seg_write import write_seg
from medseg.io.results.source import read_source
from medseg.io.volumes.image import read_image
from tests.io._clinical import SPACING, changed, make_example


@pytest.mark.parametrize(
    ("name", "truth", "size"),
    [
        ("liver.dcm", "liver_seg.nrrd", (512, 512, 3)),
        ("sparse-labelmap-noppv.dcm", "sparse_labelmap_noppv_seg.nrrd", (24, 38, 3)),
        ("sparse-labelmap-ppv5.dcm", "sparse_labelmap_ppv5_seg.nrrd", (24, 38, 3)),
        ("23x38x3/seg/label.seg", "23x38x3/nrrd/label.nrrd", (23, 38, 3)),  # 23 x 38 pixels are no whole bytes
        ("24x38x3/seg/label.seg", "24x38x3/nrrd/label.nrrd", (24, 38, 3)),
    ],
)
def test_files_of_another_program_agree_with_its_volumes(
    real_data: Callable[[str], Path], name: str, truth: str, size: tuple[int, ...]
) -> None:
    folder = real_data("dicom_seg_dcmqi")
    masks, volume = read_seg(folder / name), read_image(folder / truth)
    assert masks.shape == volume.array.shape == size
    assert corner_displacement_mm(masks.affine_ras, volume.affine_ras, size) < 1e-3
    assert [segment.info.name for segment in masks.segments] == ["Liver"]
    assert np.array_equal(masks.mask(0), volume.array == 1)


def test_overlapping_segments_agree_with_the_layers_of_another_program(real_data: Callable[[str], Path]) -> None:
    folder = real_data("dicom_seg_dcmqi")
    masks = read_seg(folder / "partial_overlaps.dcm", read_source(folder / "ct-3slice"))
    layers = [read_image(folder / f"partial_overlaps-{number}.nrrd").array for number in (1, 2, 3)]
    for index, segment in enumerate(masks.segments):
        (layer,) = (layer for layer in layers if (layer == segment.info.number).any())
        assert np.array_equal(masks.mask(index), layer == segment.info.number)
    assert len(masks.layers()) == 3
    assert masks.overlaps() == {(0, 1): 3017, (0, 2): 95, (1, 2): 50}
    with pytest.raises(DataError, match="'GREEN' and 'ORANGE' share 3017 voxels"):
        masks.label_map()


def test_slices_called_padding_are_named(real_data: Callable[[str], Path]) -> None:
    folder = real_data("dicom_seg_dcmqi")
    sparse = "no two frames are neighbours: the slice spacing of 2.500 mm is the header's alone"
    assert read_seg(folder / "sparse-labelmap-noppv.dcm").warnings == (sparse,)
    padded = read_seg(folder / "sparse-labelmap-ppv5.dcm").warnings
    assert padded[0] == sparse
    assert "slices 1 have no frame" in padded[1]


@pytest.mark.parametrize(
    "name",
    ["binary", "binary_fractional", "binary_overlap", "binary_single_frame", "true_fractional"],
)
def test_files_of_a_library_agree_with_the_library(real_data: Callable[[str], Path], name: str) -> None:
    path = real_data("dicom_seg_highdicom") / f"seg_image_ct_{name}.dcm"
    masks, reference = read_seg(path), highdicom.seg.segread(path)
    frames = reference.pixel_array.reshape(-1, reference.Rows, reference.Columns).astype(np.float64)
    frames = frames / float(reference.get("MaximumFractionalValue", 1))
    assert len(masks.segments) == reference.number_of_segments
    for index, segment in enumerate(masks.segments):
        own = [frame for frame, number in zip(frames, numbers_of(reference), strict=True) if number == index + 1]
        assert segment.box.sum(dtype=np.float64) == pytest.approx(np.sum(own), abs=1e-4)
        assert segment.is_fractional == (name == "true_fractional")


def numbers_of(data: Dataset) -> list[int]:
    return [
        int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        for item in data.PerFrameFunctionalGroupsSequence
    ]


def test_fractions_are_kept_and_placed(real_data: Callable[[str], Path]) -> None:
    path = real_data("dicom_seg_highdicom") / "seg_image_ct_true_fractional.dcm"
    masks = read_seg(path)
    stored = pydicom.dcmread(path).pixel_array
    assert np.array_equal(masks.mask(0), (stored / np.float32(255)).astype(np.float32).T)
    assert masks.source["fractional_type"] == "PROBABILITY"
    with pytest.raises(DataError, match="threshold"):
        masks.label_map()
    assert masks.label_map(0.5).sum() == (stored >= 127.5).sum()


def test_a_gap_between_frames_is_part_of_the_grid(real_data: Callable[[str], Path]) -> None:
    masks = read_seg(real_data("dicom_seg_highdicom") / "seg_image_ct_binary_overlap.dcm")
    assert masks.shape == (16, 16, 165)  # -99.48 and 103.02 to 105.52 mm in steps of 1.25
    assert masks.affine_ras[2] == pytest.approx((0, 0, 1.25, -99.480003), abs=1e-5)
    assert {int(k) for k in np.argwhere(masks.mask(0))[:, 2]} <= {0, 162, 163, 164}


def test_a_single_frame_takes_its_extent_from_the_header(real_data: Callable[[str], Path]) -> None:
    folder = real_data("dicom_seg_highdicom")
    masks = read_seg(folder / "seg_image_ct_binary_single_frame.dcm")
    assert masks.shape == (128, 128, 1)
    assert np.linalg.norm(masks.affine_ras[:3, 2]) == pytest.approx(5.0)
    stored = pydicom.dcmread(folder / "seg_image_ct_binary_single_frame.dcm").pixel_array
    assert np.array_equal(masks.mask(0)[:, :, 0], stored.T.astype(bool))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    example = make_example(tmp_path / "ct")
    write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, {1: "liver", 2: "lung"})
    return tmp_path / "s.dcm"


def reverse_frames(data: Dataset) -> None:
    frames = data.pixel_array[::-1]
    data.PerFrameFunctionalGroupsSequence = list(data.PerFrameFunctionalGroupsSequence)[::-1]
    data.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes() + b"\0"


def spread_frames(data: Dataset) -> None:
    """Frames 10 mm apart, of slices of 2.5 mm that the header calls 5 mm apart or leaves unsaid."""
    for item in data.PerFrameFunctionalGroupsSequence:
        position = item.PlanePositionSequence[0].ImagePositionPatient
        position[2] = 4 * float(position[2])


@pytest.mark.parametrize(("spacing", "step"), [(5.0, 5.0), (None, 10.0), (3.0, 10.0)])
def test_thickness_is_no_spacing_and_a_stated_spacing_must_fit(
    written: Path, spacing: float | None, step: float
) -> None:
    def change(data: Dataset) -> None:
        spread_frames(data)
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = spacing
        assert measures.SliceThickness == 2.5

    masks = read_seg(changed(written, change))
    assert masks.affine_ras[2, 2] == pytest.approx(step)
    lines = {
        5.0: ("no two frames are neighbours: the slice spacing of 5.000 mm is the header's alone",),
        3.0: ("SpacingBetweenSlices is 3 mm, but the frames lie 10 mm apart; the positions are used",),
    }
    assert masks.warnings == lines.get(spacing or 0.0, ())


@pytest.mark.parametrize("same", [True, False])
def test_a_spacing_in_shared_and_per_frame_groups_is_the_frames_own_with_both_figures(
    written: Path, same: bool
) -> None:
    spacing = [0.8, 0.7] if same else [0.4, 0.35]

    def change(data: Dataset) -> None:
        for frame in data.PerFrameFunctionalGroupsSequence:
            measures = copy.deepcopy(data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence)
            measures[0].PixelSpacing = spacing
            frame.PixelMeasuresSequence = measures

    masks = read_seg(changed(written, change))
    assert spacing_of(masks.affine_ras)[:2] == pytest.approx(spacing[::-1])
    if same:
        assert masks.warnings == ()
    else:
        (line,) = masks.warnings
        assert "PixelSpacing is 0.8 x 0.7 in the shared groups and 0.4 x 0.35 in the frame's own groups" in line


def test_the_orientation_and_the_position_of_the_shared_groups_never_replace_a_frames_own(written: Path) -> None:
    def change(data: Dataset) -> None:
        place = copy.deepcopy(data.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence)
        data.SharedFunctionalGroupsSequence[0].PlanePositionSequence = place

    (line,) = read_seg(changed(written, change)).warnings
    assert "frames: ImagePositionPatient is " in line


def test_one_slice_whose_height_is_stated_twice(tmp_path: Path) -> None:
    labels = np.zeros((9, 7, 5), np.uint8)
    labels[2:5, 2:5, 2] = 1
    example = make_example(tmp_path / "ct", labels=labels)
    write_seg(tmp_path / "s.dcm", labels, example.affine_ras, example.source, {1: "liver"})

    def change(data: Dataset) -> None:
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices, measures.SliceThickness = 5.0, 2.5

    assert read_seg(tmp_path / "s.dcm").warnings == ()
    masks = read_seg(changed(tmp_path / "s.dcm", change))
    assert masks.affine_ras[2, 2] == pytest.approx(5.0)
    assert "SpacingBetweenSlices is 5 mm and SliceThickness 2.5 mm" in masks.warnings[0]


def test_the_order_of_frames_does_not_matter(written: Path) -> None:
    assert np.array_equal(read_seg(changed(written, reverse_frames)).label_map(), read_seg(written).label_map())


@pytest.mark.parametrize(
    "syntax",
    ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"],
    ids=["implicit", "deflated", "RLE"],
)
def test_transfer_syntaxes_give_the_same_voxels(tmp_path: Path, syntax: str) -> None:
    example = make_example(tmp_path / "ct")
    path = tmp_path / "s.dcm"
    write_seg(path, example.labels, example.affine_ras, example.source, kind="labelmap")
    data = pydicom.dcmread(path)
    if pydicom.uid.UID(syntax).is_encapsulated:
        data.compress(syntax, encoding_plugin="pydicom")
    else:
        data.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    data.save_as(path, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=True)
    assert np.array_equal(read_seg(path, example.source).label_map(), example.labels)


def move_frame(data: Dataset) -> None:
    data.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [31.0, -12.5, 145.9]


def shift_sideways(data: Dataset) -> None:
    position = data.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    position[0] = float(position[0]) + 0.4


def repeat_frame(data: Dataset) -> None:
    items = data.PerFrameFunctionalGroupsSequence
    items[1].PlanePositionSequence = items[0].PlanePositionSequence
    items[1].SegmentIdentificationSequence = items[0].SegmentIdentificationSequence


def turn_frame(data: Dataset) -> None:
    orientation = Dataset()
    orientation.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    data.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence = [orientation]


def unknown_segment(data: Dataset) -> None:
    data.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def far_away(data: Dataset) -> None:
    item = data.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    item.ImagePositionPatient = [31.0, -12.5, 142.5 - 2.5 * 400_000]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (move_frame, SeriesGeometryError, "do not form a regular grid"),
        (shift_sideways, SeriesGeometryError, r"lies 0\.400 mm off"),
        (repeat_frame, DataError, "two frames of segment 1 on slice"),
        (turn_frame, SeriesGeometryError, "different orientations"),
        (unknown_segment, DataError, r"belongs to segment 9, described are \[1, 2\]"),
        (far_away, SeriesGeometryError, "expected at most 20000"),
        (lambda data: data.pop("SegmentSequence"), DataError, "no segment is described"),
        (lambda data: setattr(data, "NumberOfFrames", 9), DataError, "9 frames, but 4 items"),
        (lambda data: setattr(data, "Rows", 65000), DataError, "Rows is 65000"),
        (lambda data: setattr(data, "PixelData", data.PixelData[:4]), UnreadableFileError, "4 bytes of pixel data"),
        (lambda data: setattr(data, "SegmentationType", "SURFACE"), DataError, "expected BINARY or FRACTIONAL"),
        (lambda data: data.SharedFunctionalGroupsSequence[0].pop("PixelMeasuresSequence"), DataError, "PixelSpacing"),
    ],
)
def test_contradictions_are_refused_in_one_line(
    written: Path, change: Callable[[Dataset], None], error: type[DataError], words: str
) -> None:
    path = changed(written, change)
    with pytest.raises(error, match=words) as caught:
        read_seg(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grid_that_the_frames_do_not_lie_on_is_refused_with_mm(written: Path) -> None:
    grid = Grid(make_affine(SPACING, (-31.0, 12.5, 141.0), "LPS"), (9, 7, 5))
    with pytest.raises(SeriesGeometryError, match=r"up to 1\.000 mm off the slices"):
        read_seg(written, grid)
    short = Grid(make_affine(SPACING, (-31.0, 12.5, 140.0), "LPS"), (9, 7, 3))
    with pytest.raises(SeriesGeometryError, match=r"outside the 3 slices .* by up to 2\.500 mm"):
        read_seg(written, short)
    wide = Grid(make_affine(SPACING, (-31.0, 12.5, 140.0), "LPS"), (10, 7, 5))
    with pytest.raises(SeriesGeometryError, match="9 x 7 pixels, but the grid has 10 x 7"):
        read_seg(written, wide)


def test_a_series_of_another_frame_of_reference_is_refused(written: Path) -> None:
    other = changed(written, lambda data: setattr(data, "FrameOfReferenceUID", "1.2.3"))
    with pytest.raises(DataError, match=r"frame of reference 1\.2\.3"):
        read_seg(other, read_source(written.parent / "ct"))


def test_other_objects_are_refused(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a DICOM Segmentation"):
        read_seg(real_data("dicom_seg_highdicom") / "ct_image.dcm")
    with pytest.raises(DataError, match="expected a DICOM Segmentation"):
        read_seg(real_data("dicom_seg_highdicom") / "sr_document.dcm")
    with pytest.raises(DataError, match="no such file"):
        read_seg(tmp_path / "absent.dcm")
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(UnreadableFileError, match="not a readable DICOM file"):
        read_seg(tmp_path / "text.dcm")
