from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from medseg.geometry import apply_affine, flip_lps_ras
from medseg.io.bounded.errors import DataError
from medseg.io.results.identity import ObjectIdentity
from medseg.io.results.seg_read import read_seg
from medseg.io.results.seg_write import write_seg
from medseg.io.results.segment_info import SegmentInfo, preset
from medseg.io.results.source import read_source
from tests.io._clinical import Example, make_example
from tests.io._dicom_conformance import violations
from tests.io._dicom_files import positions, write_series

NAMES = {1: "liver", 2: "liver tumour"}


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return make_example(tmp_path / "ct")


def frames_of(path: Path) -> list[tuple[int, str]]:
    """Segment and referenced image of every frame."""
    return [
        (
            int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber),
            str(item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID),
        )
        for item in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    ]


def test_frames_refer_to_the_slices_they_lie_on_and_empty_ones_are_left_out(example: Example, tmp_path: Path) -> None:
    write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, NAMES)
    uids = [reference.instance_uid for reference in example.source.references]
    occupied = [(value, k) for value in (1, 2) for k in range(5) if (example.labels[:, :, k] == value).any()]
    assert sorted(frames_of(tmp_path / "s.dcm")) == sorted((value, uids[k]) for value, k in occupied)


def test_the_result_joins_the_patient_the_study_and_the_frame_of_reference(example: Example, tmp_path: Path) -> None:
    write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, NAMES)
    result, slice_ = pydicom.dcmread(tmp_path / "s.dcm"), example.source.headers[0]
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "StudyID", "FrameOfReferenceUID"):
        assert result[keyword].value == slice_[keyword].value
    assert result.Modality == "SEG"
    assert result.SeriesInstanceUID != slice_.SeriesInstanceUID
    assert result.ReferencedSeriesSequence[0].SeriesInstanceUID == slice_.SeriesInstanceUID


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_no_mandatory_attribute_is_absent(example: Example, tmp_path: Path, kind: str) -> None:
    write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, NAMES, kind=kind)  # type: ignore[arg-type]
    assert violations(pydicom.dcmread(tmp_path / "s.dcm")) == []


def test_segments_carry_their_codes_and_their_makers(example: Example, tmp_path: Path) -> None:
    hand = SegmentInfo("scar", algorithm_type="MANUAL", algorithm_name="")
    write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, {1: "liver_tumour", 2: hand})
    first, second = pydicom.dcmread(tmp_path / "s.dcm").SegmentSequence
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "108369006"
    assert first.AnatomicRegionSequence[0].CodeMeaning == "Liver"
    assert (first.SegmentAlgorithmType, first.SegmentAlgorithmName) == ("AUTOMATIC", "medseg")
    assert (second.SegmentLabel, second.SegmentAlgorithmType) == ("scar", "MANUAL")
    assert "SegmentAlgorithmName" not in second


def test_an_independent_reader_sees_the_same_voxels(example: Example, tmp_path: Path) -> None:
    write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, NAMES)
    volume = highdicom.seg.segread(tmp_path / "s.dcm").get_volume(combine_segments=True)
    for value in (1, 2):
        theirs = apply_affine(volume.affine, np.argwhere(volume.array == value))  # LPS, axes [slice, row, column]
        ours = flip_lps_ras(apply_affine(example.affine_ras, np.argwhere(example.labels == value)))
        assert np.array_equal(np.unique(theirs.round(4), axis=0), np.unique(ours.round(4), axis=0))


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_every_voxel_comes_back(example: Example, tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(3).integers(0, 4, example.labels.shape).astype(np.uint8)
    write_seg(tmp_path / "s.dcm", noise, example.affine_ras, example.source, kind=kind)  # type: ignore[arg-type]
    assert np.array_equal(read_seg(tmp_path / "s.dcm", example.source).label_map(), noise)
    assert np.array_equal(read_seg(tmp_path / "s.dcm").label_map(), noise)


def test_binary_segments_are_numbered_in_a_row_and_label_maps_keep_their_values(
    example: Example, tmp_path: Path
) -> None:
    labels = np.where(example.labels == 2, 40, example.labels)
    names = {1: "liver", 7: "lung", 40: "liver tumour"}
    numbers = {}
    for kind in ("binary", "labelmap"):
        infos = write_seg(tmp_path / kind, labels, example.affine_ras, example.source, names, kind=kind)  # type: ignore[arg-type]
        numbers[kind] = [info.number for info in infos.values()]
        read = read_seg(tmp_path / kind, example.source)
        assert [segment.info.number for segment in read.segments] == numbers[kind]
        assert [int(segment.box.sum()) for segment in read.segments] == [int((labels == v).sum()) for v in names]
    assert numbers == {"binary": [1, 2, 3], "labelmap": [1, 7, 40]}


def test_stacked_masks_may_overlap(example: Example, tmp_path: Path) -> None:
    organ = example.labels > 0
    stacked = np.stack([organ, example.labels == 2])
    write_seg(tmp_path / "s.dcm", stacked, example.affine_ras, example.source, NAMES)
    read = read_seg(tmp_path / "s.dcm", example.source)
    assert np.array_equal(read.mask(0), organ)
    assert np.array_equal(read.mask(1), example.labels == 2)
    assert pydicom.dcmread(tmp_path / "s.dcm").SegmentsOverlap != "NO"
    with pytest.raises(DataError, match=f"overlap in {int((example.labels == 2).sum())} voxels"):
        write_seg(tmp_path / "l.dcm", stacked, example.affine_ras, example.source, NAMES, kind="labelmap")


def test_a_mask_without_any_voxel_is_a_result_too(example: Example, tmp_path: Path) -> None:
    write_seg(tmp_path / "s.dcm", np.zeros_like(example.labels), example.affine_ras, example.source, NAMES)
    read = read_seg(tmp_path / "s.dcm", example.source)
    assert [segment.info.name for segment in read.segments] == list(NAMES.values())
    assert not read.label_map().any()


@pytest.mark.trap("4.3-17")
def test_a_multi_frame_source_is_referred_to_by_frame(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = read_source(real_data("dicom_seg_dcmqi") / "23x38x3" / "multiframe")
    labels = np.zeros(source.shape, np.uint8)
    labels[3:9, 5:20, 1] = 1
    write_seg(tmp_path / "s.dcm", labels, source.affine_ras, source, {1: "liver"})
    data = pydicom.dcmread(tmp_path / "s.dcm")
    (item,) = data.PerFrameFunctionalGroupsSequence
    image = item.DerivationImageSequence[0].SourceImageSequence[0]
    frame = source.references[1].frame_number
    assert (str(image.ReferencedSOPInstanceUID), int(image.ReferencedFrameNumber)) == (
        source.references[1].instance_uid,
        frame,
    )
    assert np.array_equal(read_seg(tmp_path / "s.dcm", source).label_map(), labels)


def test_names_of_patients_beyond_ascii_survive(tmp_path: Path) -> None:
    tags = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "FrameOfReferenceUID": "1.2.9"}
    write_series(tmp_path / "ct", positions(3), **tags)
    source = read_source(tmp_path / "ct")
    write_seg(tmp_path / "s.dcm", np.ones(source.shape, np.uint8), source.affine_ras, source, {1: "Lebertumor ä"})
    result = pydicom.dcmread(tmp_path / "s.dcm")
    assert str(result.PatientName) == "Müller^Jörg"
    assert result.SegmentSequence[0].SegmentLabel == "Lebertumor ä"


@pytest.mark.parametrize("keyword", ["PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"])
def test_a_header_that_no_segmentation_can_repeat_is_refused_without_quoting_it(tmp_path: Path, keyword: str) -> None:
    write_series(tmp_path / "ct", positions(3), FrameOfReferenceUID="1.2.9")
    for path in (tmp_path / "ct").iterdir():
        data = pydicom.dcmread(path)
        data[keyword] = pydicom.DataElement(keyword, "LO", "canary")
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        data.save_as(path, implicit_vr=True, little_endian=True)
    source = read_source(tmp_path / "ct")
    with pytest.raises(DataError, match="cannot carry a segmentation") as caught:
        write_seg(tmp_path / "s.dcm", np.ones(source.shape, np.uint8), source.affine_ras, source)
    assert "canary" not in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def test_the_same_seed_and_time_give_the_same_file(example: Example, tmp_path: Path) -> None:
    identity = ObjectIdentity(uid_seed="site 7", written_at=datetime(2026, 1, 31, 12, 0, 0))
    arguments = (example.labels, example.affine_ras, example.source, NAMES)
    for name in ("a.dcm", "b.dcm"):
        write_seg(tmp_path / name, *arguments, identity=identity)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    other = np.where(example.labels == 2, 0, example.labels)
    write_seg(tmp_path / "c.dcm", other, *arguments[1:], identity=identity)
    a, c = pydicom.dcmread(tmp_path / "a.dcm"), pydicom.dcmread(tmp_path / "c.dcm")
    assert a.SOPInstanceUID != c.SOPInstanceUID
    assert (a.ContentDate, a.SeriesTime) == ("20260131", "120000")


def test_fresh_uids_differ_and_take_the_given_root(example: Example, tmp_path: Path) -> None:
    uids = set()
    for number in range(2):
        path = tmp_path / f"{number}.dcm"
        write_seg(
            path,
            example.labels,
            example.affine_ras,
            example.source,
            NAMES,
            identity=ObjectIdentity(uid_prefix="1.2.826.0.1.3680043.8.498."),
        )
        uids.add(str(pydicom.dcmread(path).SOPInstanceUID))
    assert len(uids) == 2
    assert all(uid.startswith("1.2.826.0.1.3680043.8.498.") for uid in uids)
    with pytest.raises(DataError, match="exclude each other"):
        ObjectIdentity(uid_seed="a", uid_prefix="1.2.")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((9, 7, 5), 0.5), "fractions"),
        (np.full((9, 7, 5), -1), "from -1 to -1, expected 0 to 65535"),
        (np.full((9, 7, 5), np.nan), "expected 0 to 65535"),
        (np.full((2, 9, 7, 5), 3), "expected 0 to 1"),
        (np.zeros((9, 7)), r"shape \(9, 7\)"),
        (np.full((9, 7, 5), "a"), "expected whole numbers"),
    ],
)
def test_what_is_no_mask_is_refused(example: Example, tmp_path: Path, values: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        write_seg(tmp_path / "s.dcm", values, example.affine_ras, example.source)
    assert not (tmp_path / "s.dcm").exists()


def test_an_unknown_kind_is_refused(example: Example, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="binary, labelmap"):
        write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, kind="mesh")  # type: ignore[arg-type]


def test_without_highdicom_the_extra_is_named_in_one_line(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(RuntimeError, match=r"pip install 'medseg\[seg\]'"):
        write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source)


def test_colours_come_back_within_rounding(example: Example, tmp_path: Path) -> None:
    infos = write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, NAMES)
    read = read_seg(tmp_path / "s.dcm").segments
    for info, segment in zip(infos.values(), read, strict=True):
        assert np.abs(np.subtract(info.color_rgb or (), segment.info.color_rgb or ())).max() <= 1
    assert read[1].info.kind == preset("liver tumour").kind
