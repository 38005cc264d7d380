"""CT series writing: standard attributes, and the same voxels at the same places for independent readers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from medseg.datasets.phantom.ct_writer import write_ct_series
from medseg.geometry import apply_affine, flip_lps_ras, make_affine
from medseg.io.results.identity import uid_of

OBLIQUE = Rotation.from_euler("xyz", [12, -7, 25], degrees=True).as_matrix()
ORIENTATIONS = {
    "axial": "LPS",
    "axial_ras": "RAS",
    "left_handed": "LPI",
    "sagittal": "PIR",
    "coronal": "LIP",
    "oblique": OBLIQUE,
    "oblique_left_handed": OBLIQUE @ np.diag([1.0, 1.0, -1.0]),
}


def volume(shape: tuple[int, int, int] = (9, 7, 5)) -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 3071, shape).astype(np.int16)


def affine_of(orientation: object) -> np.ndarray:
    return make_affine((0.7012345678, 0.9, 2.5), (-123.456789012345, 87.1234567890123, -611.25), orientation)


def write(folder: Path, orientation: object = "LPS", **options: object):
    return write_ct_series(
        folder,
        volume(),
        affine_of(orientation),
        **{"patient_id": "P-1", "series_description": "Test", "patient_name": "PHANTOM^TEST", **options},
    )


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_simpleitk_reads_the_same_voxels_at_the_same_points(tmp_path: Path, name: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    series = write(tmp_path / "ct", ORIENTATIONS[name])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series.folder)))
    image = reader.Execute()
    check_voxels(
        lambda point: image.TransformPhysicalPointToContinuousIndex(point), sitk.GetArrayFromImage(image).T, name
    )


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_monai_reads_the_same_voxels_at_the_same_points(tmp_path: Path, name: str) -> None:
    readers = pytest.importorskip("monai.data.image_reader")
    series = write(tmp_path / "ct", ORIENTATIONS[name])
    reader = readers.PydicomReader(affine_lps_to_ras=True)
    array, meta = reader.get_data(reader.read(str(series.folder)))
    inverse = np.linalg.inv(np.asarray(meta["affine"], np.float64))
    check_voxels(lambda point: apply_affine(inverse, flip_lps_ras(point)), np.asarray(array), name)


def check_voxels(index_of, array: np.ndarray, name: str) -> None:
    """Every voxel's LPS position, looked up in what was read, holds that voxel's HU."""
    image, affine = volume(), affine_of(ORIENTATIONS[name])
    for voxel in ((0, 0, 0), (8, 6, 4), (2, 5, 3), (7, 1, 0), (4, 4, 4)):
        point = flip_lps_ras(apply_affine(affine, voxel))
        found = np.asarray(index_of(tuple(float(v) for v in point)))
        assert np.abs(found - np.rint(found)).max() < 1e-4
        assert array[tuple(np.rint(found).astype(int))] == image[voxel]


def test_instances_ascend_along_the_normal_and_file_names_do_not(tmp_path: Path) -> None:
    for name in ("axial", "left_handed", "oblique"):
        series = write(tmp_path / name, ORIENTATIONS[name])
        slices = [pydicom.dcmread(series.folder / file) for file in series.files]
        slices.sort(key=lambda dataset: int(dataset.InstanceNumber))
        x, y = np.reshape(np.array(slices[0].ImageOrientationPatient, float), (2, 3))
        along = [float(np.cross(x, y) @ np.array(s.ImagePositionPatient, float)) for s in slices]
        assert np.allclose(np.diff(along), 2.5, atol=1e-9)
        assert [int(s.InstanceNumber) for s in slices] == [1, 2, 3, 4, 5]
        assert series.files != sorted(series.files)


def test_uids_and_files_are_listed_by_array_index(tmp_path: Path) -> None:
    series = write(tmp_path / "ct")
    for k, file in enumerate(series.files):
        dataset = pydicom.dcmread(series.folder / file)
        assert dataset.SOPInstanceUID == series.sop_uids[k]
        assert np.array_equal(dataset.pixel_array.T.astype(int) + int(dataset.RescaleIntercept), volume()[:, :, k])


# Keyword, type (1: present with a value, 2: present) by PS3.3 module of the CT Image IOD.
REQUIRED = {
    "patient": [("PatientName", 2), ("PatientID", 2), ("PatientBirthDate", 2), ("PatientSex", 2)],
    "study": [
        ("StudyInstanceUID", 1), ("StudyDate", 2), ("StudyTime", 2), ("ReferringPhysicianName", 2), ("StudyID", 2),
        ("AccessionNumber", 2),
    ],
    "series": [("Modality", 1), ("SeriesInstanceUID", 1), ("SeriesNumber", 2), ("PatientPosition", 2)],
    "frame_of_reference": [("FrameOfReferenceUID", 1), ("PositionReferenceIndicator", 2)],
    "equipment": [("Manufacturer", 2)],
    "image": [("InstanceNumber", 2), ("ContentDate", 2), ("ContentTime", 2)],
    "plane": [
        ("PixelSpacing", 1), ("ImageOrientationPatient", 1), ("ImagePositionPatient", 1), ("SliceThickness", 2),
    ],
    "pixel": [
        ("SamplesPerPixel", 1), ("PhotometricInterpretation", 1), ("Rows", 1), ("Columns", 1), ("BitsAllocated", 1),
        ("BitsStored", 1), ("HighBit", 1), ("PixelRepresentation", 1), ("PixelData", 1),
    ],
    "ct": [
        ("ImageType", 1), ("RescaleIntercept", 1), ("RescaleSlope", 1), ("RescaleType", 1), ("KVP", 2),
        ("AcquisitionNumber", 2),
    ],
    "sop": [("SOPClassUID", 1), ("SOPInstanceUID", 1), ("SpecificCharacterSet", 1)],
}  # fmt: skip


@pytest.mark.parametrize("module", REQUIRED)
def test_every_required_attribute_is_there(tmp_path: Path, module: str) -> None:
    series = write(tmp_path / "ct")
    for file in series.files:
        dataset = pydicom.dcmread(series.folder / file)
        for keyword, kind in REQUIRED[module]:
            assert keyword in dataset, keyword
            assert kind == 2 or dataset[keyword].value not in ("", None), keyword


def test_images_say_that_no_scanner_made_them(tmp_path: Path) -> None:
    series = write(tmp_path / "ct")
    dataset = pydicom.dcmread(series.folder / series.files[0])
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert dataset.RescaleType == "HU"


def test_decimal_strings_are_short_and_exact(tmp_path: Path) -> None:
    affine = affine_of(OBLIQUE)
    series = write(tmp_path / "ct", OBLIQUE)
    for k, file in enumerate(series.files):
        dataset = pydicom.dcmread(series.folder / file)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            assert all(len(str(value)) <= 16 for value in dataset[keyword].value)
        expected = flip_lps_ras(apply_affine(affine, (0, 0, k)))
        assert np.abs(np.array(dataset.ImagePositionPatient, float) - expected).max() < 1e-8


def test_all_uids_are_valid_and_follow_from_the_seed(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a"), write(tmp_path / "b")
    assert one._replace(folder=two.folder) == two
    other = write(tmp_path / "c", uid_seed="other")
    assert other.study_uid != one.study_uid and other.series_uid != one.series_uid
    for uid in (one.study_uid, one.series_uid, one.frame_uid, *one.sop_uids):
        assert pydicom.uid.UID(uid).is_valid and uid.startswith("2.25.") and len(uid) <= 64
    assert len({one.study_uid, one.series_uid, one.frame_uid, *one.sop_uids}) == 3 + len(one.sop_uids)


def test_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a"), write(tmp_path / "b")
    for file in one.files:
        assert (one.folder / file).read_bytes() == (two.folder / file).read_bytes()


def test_padding_value_is_stored_in_pixel_units(tmp_path: Path) -> None:
    series = write(tmp_path / "ct", padding_hu=-2048)
    dataset = pydicom.dcmread(series.folder / series.files[0])
    assert dataset.PixelPaddingValue == -1024


def test_sheared_grid_is_refused_with_its_angle(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 2.0 * np.tan(np.deg2rad(5.0))
    with pytest.raises(ValueError, match=r"sheared by 5\.000 degrees"):
        write_ct_series(tmp_path / "ct", volume(), affine, patient_id="P", series_description="S")
    assert not (tmp_path / "ct").exists()


def test_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "ct")
    before = sorted(path.name for path in (tmp_path / "ct").iterdir())
    with pytest.raises(ValueError, match="not an empty folder"):
        write(tmp_path / "ct")
    assert sorted(path.name for path in (tmp_path / "ct").iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 3, 3), np.float32), "float32"),
        (np.full((3, 3, 3), 40000), "40000"),
        (np.zeros((3, 3), np.int16), r"shape \(3, 3\)"),
    ],
)
def test_impossible_images_are_refused(tmp_path: Path, image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_ct_series(tmp_path / "ct", image, np.eye(4), patient_id="P", series_description="S")


def test_uid_depends_on_every_key() -> None:
    assert uid_of("a", 1) == uid_of("a", 1) != uid_of("a", 2)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (package dicom3tools) is not installed")
@pytest.mark.parametrize("name", ["axial", "sagittal", "oblique_left_handed"])
def test_dciodvfy_finds_neither_errors_nor_warnings(tmp_path: Path, name: str) -> None:
    series = write(tmp_path / "ct", ORIENTATIONS[name], body_part="ABDOMEN", padding_hu=-2048)
    for file in series.files[:2]:
        run = subprocess.run(["dciodvfy", str(series.folder / file)], capture_output=True, text=True, check=False)
        report = run.stdout + run.stderr
        assert "CTImage" in report
        assert "Error" not in report and "Warning" not in report, report
