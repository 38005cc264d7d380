from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medseg.geometry import make_affine
from medseg.io.bounded.errors import DataError
from medseg.io.results.identity import ObjectIdentity
from medseg.io.results.rtstruct_read import read_rtstruct
from medseg.io.results.rtstruct_write import write_rtstruct
from medseg.io.results.segment_info import SegmentInfo
from medseg.io.results.source import read_source
from tests.io._clinical import Example, make_example
from tests.io._dicom_conformance import violations
from tests.io._dicom_files import positions, write_series

NAMES = {1: "liver", 2: "liver tumour"}


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return make_example(tmp_path / "ct")


def contours(path: Path, roi: int) -> list[pydicom.Dataset]:
    (item,) = (entry for entry in pydicom.dcmread(path).ROIContourSequence if entry.ReferencedROINumber == roi)
    return list(item.get("ContourSequence", []))


@pytest.mark.parametrize("holes", ["keyhole", "separate"])
def test_every_voxel_comes_back_from_noise(example: Example, tmp_path: Path, holes: str) -> None:
    noise = np.random.default_rng(3).integers(0, 4, example.labels.shape).astype(np.uint8)
    write_rtstruct(tmp_path / "r.dcm", noise, example.affine_ras, example.source, holes=holes)  # type: ignore[arg-type]
    read = read_rtstruct(tmp_path / "r.dcm", example.source)
    assert np.array_equal(read.label_map(), noise)
    assert read.warnings == ()


def test_each_contour_lies_on_the_slice_it_refers_to(example: Example, tmp_path: Path) -> None:
    write_rtstruct(tmp_path / "r.dcm", example.labels, example.affine_ras, example.source, NAMES)
    heights = {str(header.SOPInstanceUID): float(header.ImagePositionPatient[2]) for header in example.source.headers}
    for contour in contours(tmp_path / "r.dcm", 1) + contours(tmp_path / "r.dcm", 2):
        (image,) = contour.ContourImageSequence
        z = np.array(contour.ContourData, float).reshape(-1, 3)[:, 2]
        assert z == pytest.approx(heights[str(image.ReferencedSOPInstanceUID)], abs=1e-4)


def test_holes_are_channels_by_default_and_contours_of_their_own_on_request(example: Example, tmp_path: Path) -> None:
    arguments = (example.labels, example.affine_ras, example.source, NAMES)
    write_rtstruct(tmp_path / "k.dcm", *arguments)
    write_rtstruct(tmp_path / "x.dcm", *arguments, holes="separate")
    keyhole, separate = contours(tmp_path / "k.dcm", 1), contours(tmp_path / "x.dcm", 1)
    assert (len(keyhole), len(separate)) == (2, 4)  # a ring on each of two slices
    assert {contour.ContourGeometricType for contour in keyhole} == {"CLOSED_PLANAR"}
    assert {contour.ContourGeometricType for contour in separate} == {"CLOSEDPLANAR_XOR"}


def test_contours_beyond_64_kilobytes_stay_readable(tmp_path: Path) -> None:
    sieve = np.ones((121, 41, 2), np.uint8)
    sieve[1::2, 1::2, 0] = 0  # 1200 holes, all joined to one outer border
    affine = make_affine((0.123457, 0.765433, 2.5), (-111.11111, 22.22222, 3.0), "LPS")
    example = make_example(tmp_path / "ct", affine, sieve)
    write_rtstruct(tmp_path / "r.dcm", sieve, example.affine_ras, example.source)
    longest = max(len(item.get_item("ContourData").value) for item in contours(tmp_path / "r.dcm", 1))
    assert longest > 65535
    assert pydicom.dcmread(tmp_path / "r.dcm").file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert np.array_equal(read_rtstruct(tmp_path / "r.dcm", example.source).label_map(), sieve)


def test_the_result_joins_the_patient_the_study_and_the_frame_of_reference(example: Example, tmp_path: Path) -> None:
    write_rtstruct(tmp_path / "r.dcm", example.labels, example.affine_ras, example.source, NAMES)
    result, slice_ = pydicom.dcmread(tmp_path / "r.dcm"), example.source.headers[0]
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID"):
        assert result[keyword].value == slice_[keyword].value
    (frame,) = result.ReferencedFrameOfReferenceSequence
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == slice_.FrameOfReferenceUID
    assert frame.RTReferencedStudySequence[0].ReferencedSOPInstanceUID == slice_.StudyInstanceUID
    assert series.SeriesInstanceUID == slice_.SeriesInstanceUID
    assert [str(item.ReferencedSOPInstanceUID) for item in series.ContourImageSequence] == [
        reference.instance_uid for reference in example.source.references
    ]


def test_no_mandatory_attribute_is_absent(example: Example, tmp_path: Path) -> None:
    write_rtstruct(tmp_path / "r.dcm", example.labels, example.affine_ras, example.source, {**NAMES, 3: "lung"})
    data = pydicom.dcmread(tmp_path / "r.dcm")
    assert violations(data) == []
    del data.StructureSetLabel
    assert violations(data) == ["structure-set: StructureSetLabel"]


def test_structures_have_what_viewers_need(example: Example, tmp_path: Path) -> None:
    hand = SegmentInfo("scar", algorithm_type="MANUAL", color_rgb=(10, 20, 30))
    write_rtstruct(tmp_path / "r.dcm", example.labels, example.affine_ras, example.source, {1: "liver", 2: hand})
    data = pydicom.dcmread(tmp_path / "r.dcm")
    assert [(int(s.ROINumber), s.ROIName, s.ROIGenerationAlgorithm) for s in data.StructureSetROISequence] == [
        (1, "liver", "AUTOMATIC"),
        (2, "scar", "MANUAL"),
    ]
    assert [list(item.ROIDisplayColor) for item in data.ROIContourSequence][1] == [10, 20, 30]
    liver, scar = data.RTROIObservationsSequence
    assert liver.RTROIIdentificationCodeSequence[0].CodeValue == "10200004"
    assert "RTROIIdentificationCodeSequence" not in scar
    assert (data.Modality, data.ApprovalStatus, data.StructureSetLabel) == ("RTSTRUCT", "UNAPPROVED", "medseg")


def test_a_segment_without_voxels_is_a_structure_without_contours(example: Example, tmp_path: Path) -> None:
    write_rtstruct(tmp_path / "r.dcm", example.labels, example.affine_ras, example.source, {**NAMES, 3: "lung"})
    item = pydicom.dcmread(tmp_path / "r.dcm").ROIContourSequence[2]
    assert "ContourSequence" not in item
    read = read_rtstruct(tmp_path / "r.dcm", example.source)
    assert read.segments[2].info.name == "lung"
    assert not read.mask(2).any()


def test_stacked_masks_may_overlap(example: Example, tmp_path: Path) -> None:
    stacked = np.stack([example.labels > 0, example.labels == 2])
    write_rtstruct(tmp_path / "r.dcm", stacked, example.affine_ras, example.source, NAMES)
    read = read_rtstruct(tmp_path / "r.dcm", example.source)
    for index in range(2):
        assert np.array_equal(read.mask(index), stacked[index])


@pytest.mark.trap("4.3-17")
def test_a_multi_frame_source_is_referred_to_by_frame(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = read_source(real_data("dicom_seg_dcmqi") / "24x38x3" / "multiframe")
    labels = np.zeros(source.shape, np.uint8)
    labels[3:9, 5:20, 1:] = 1
    write_rtstruct(tmp_path / "r.dcm", labels, source.affine_ras, source, {1: "liver"})
    numbers = [int(item.ContourImageSequence[0].ReferencedFrameNumber) for item in contours(tmp_path / "r.dcm", 1)]
    assert numbers == [source.references[k].frame_number for k in (1, 2)]
    assert np.array_equal(read_rtstruct(tmp_path / "r.dcm", source).label_map(), labels)


def test_names_of_patients_beyond_ascii_survive(tmp_path: Path) -> None:
    tags = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "FrameOfReferenceUID": "1.2.9"}
    write_series(tmp_path / "ct", positions(3), **tags)
    source = read_source(tmp_path / "ct")
    write_rtstruct(tmp_path / "r.dcm", np.ones(source.shape, np.uint8), source.affine_ras, source, {1: "Lebertumor ä"})
    result = pydicom.dcmread(tmp_path / "r.dcm")
    assert str(result.PatientName) == "Müller^Jörg"
    assert result.StructureSetROISequence[0].ROIName == "Lebertumor ä"


def test_odd_values_of_the_patient_are_repeated_and_never_quoted(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", positions(3), FrameOfReferenceUID="1.2.9")
    for path in (tmp_path / "ct").iterdir():
        data = pydicom.dcmread(path)
        data["PatientBirthDate"] = pydicom.DataElement("PatientBirthDate", "LO", "canary")
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        data.save_as(path, implicit_vr=True, little_endian=True)
    source = read_source(tmp_path / "ct")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_rtstruct(tmp_path / "r.dcm", np.ones(source.shape, np.uint8), source.affine_ras, source)
    assert b"canary" in (tmp_path / "r.dcm").read_bytes()


def test_the_same_seed_and_time_give_the_same_file(example: Example, tmp_path: Path) -> None:
    identity = ObjectIdentity(uid_seed="site 7", written_at=datetime(2026, 1, 31, 12, 0, 0))
    for name in ("a.dcm", "b.dcm"):
        write_rtstruct(tmp_path / name, example.labels, example.affine_ras, example.source, NAMES, identity=identity)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_a_mask_on_another_grid_leaves_no_file(example: Example, tmp_path: Path) -> None:
    shifted = example.affine_ras.copy()
    shifted[2, 3] += 1.0
    with pytest.raises(DataError, match=r"1\.000 mm apart"):
        write_rtstruct(tmp_path / "r.dcm", example.labels, shifted, example.source, NAMES)
    assert not (tmp_path / "r.dcm").exists()
