"""Every format and every writer puts a voxel at the same place of the patient, with the same value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.geometry import flip_lps_ras, voxel_to_world
from medseg.io.bounded.errors import DataError
from medseg.io.volumes.image import image_suffix, read_image, read_image_info, write_image
from medseg.io.volumes.nifti import write_nifti
from tests.io._image_files import SHAPE, SPOT, oblique_affine, voxels, write_nrrd_text

WRITTEN = ("a.nii", "a.nii.gz", "a.mha", "a.mhd", "a.nrrd")
POINTS = [(0, 0, 0), SPOT, (4, 0, 0), (0, 5, 0), (0, 0, 6), (4, 5, 6)]


def sitk() -> Any:
    return pytest.importorskip("SimpleITK")


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_what_is_written_reads_back(tmp_path: Path, name: str, dtype: Any) -> None:
    image = read_image(write_image(tmp_path / name, voxels(dtype), oblique_affine()))
    assert image.array.dtype == dtype
    np.testing.assert_array_equal(image.array, voxels(dtype))
    np.testing.assert_allclose(image.affine_ras, oblique_affine(), atol=1e-5)
    assert image.info.warnings == ()
    assert image.array.flags.writeable


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd"])
def test_text_headers_keep_the_affine_to_rounding(tmp_path: Path, name: str) -> None:
    image = read_image(write_image(tmp_path / name, voxels(), oblique_affine()))
    np.testing.assert_allclose(image.affine_ras, oblique_affine(), rtol=0, atol=1e-14)


@pytest.mark.trap("4.3-05")
@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "IAL"])
def test_points_survive_nifti_metaimage_nrrd_nifti(tmp_path: Path, codes: str) -> None:
    affine = oblique_affine(codes)
    path = write_image(tmp_path / "first.nii.gz", voxels(), affine)
    for name in ("second.mha", "third.nrrd", "fourth.mhd", "last.nii"):
        image = read_image(path)
        path = write_image(tmp_path / name, image.array, image.affine_ras)
    last = read_image(path)
    np.testing.assert_array_equal(last.array, voxels())
    shifts = voxel_to_world(POINTS, last.affine_ras, "RAS") - voxel_to_world(POINTS, affine, "RAS")
    assert np.abs(shifts).max() < 1e-4


@pytest.mark.trap("4.3-05")
@pytest.mark.trap("4.3-06")
@pytest.mark.parametrize("name", WRITTEN)
def test_simpleitk_sees_our_voxels_and_points(tmp_path: Path, name: str) -> None:
    image = sitk().ReadImage(str(write_image(tmp_path / name, voxels(), oblique_affine())))
    assert image.GetSize() == SHAPE
    np.testing.assert_array_equal(sitk().GetArrayFromImage(image), voxels().T)
    for point in POINTS:
        found = image.TransformIndexToPhysicalPoint(point)
        np.testing.assert_allclose(found, voxel_to_world(point, oblique_affine(), "LPS"), atol=1e-4)


@pytest.mark.trap("4.3-05")
@pytest.mark.trap("4.3-06")
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
def test_we_see_the_voxels_and_points_of_simpleitk(tmp_path: Path, name: str, compress: bool) -> None:
    image = sitk().GetImageFromArray(voxels(np.int32).T)
    lps = flip_lps_ras(oblique_affine())
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk().WriteImage(image, str(tmp_path / name), compress)
    found = read_image(tmp_path / name)
    np.testing.assert_array_equal(found.array, voxels(np.int32))
    np.testing.assert_allclose(found.affine_ras, oblique_affine(), atol=1e-4)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_every_type_of_simpleitk_is_read(tmp_path: Path, name: str, kind: str) -> None:
    sitk().WriteImage(sitk().GetImageFromArray(voxels(kind).T), str(tmp_path / name))
    found = read_image(tmp_path / name).array
    assert found.dtype == kind
    np.testing.assert_array_equal(found, voxels(kind))


@pytest.mark.trap("4.3-19")
@pytest.mark.parametrize("short", [False, True])
def test_nrrd_files_in_ras_and_in_lps_are_the_same_image(tmp_path: Path, short: bool) -> None:
    names = (
        {"RAS": "RAS", "LPS": "LPS"} if short else {"RAS": "right-anterior-superior", "LPS": "left-posterior-superior"}
    )
    for frame, name in names.items():
        affine = oblique_affine() if frame == "RAS" else flip_lps_ras(oblique_affine())
        vectors = [f"({','.join(repr(float(x)) for x in vector)})" for vector in affine[:3].T]
        changes = {"space": name, "space_directions": " ".join(vectors[:3]), "space_origin": vectors[3]}
        image = read_image(write_nrrd_text(tmp_path / f"{frame}.nrrd", **changes))
        np.testing.assert_array_equal(image.array, voxels())
        np.testing.assert_allclose(image.affine_ras, oblique_affine(), atol=1e-12)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_header_alone_says_shape_type_and_place(tmp_path: Path, name: str) -> None:
    info = read_image_info(write_image(tmp_path / name, voxels(), oblique_affine()))
    assert (info.shape, info.dtype, info.path) == (SHAPE, np.int16, tmp_path / name)
    np.testing.assert_allclose(info.affine_ras, oblique_affine(), atol=1e-5)
    assert info.format == {"i": "nifti", "h": "metaimage", "r": "nrrd"}[name.split(".")[1][1]]


def test_a_scaled_nifti_is_announced_as_float32(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", voxels(), oblique_affine())
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([2.0, -1024.0], "<f4").tobytes()
    path.write_bytes(content)
    assert read_image_info(path).dtype == np.float32
    np.testing.assert_array_equal(read_image(path).array, voxels() * 2.0 - 1024)


@pytest.mark.parametrize("name", ["a.png", "a", "nii", "a.nii.bz2", "a.hdr"])
def test_unknown_endings_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"expected a name that ends in \.nii\.gz, \.nii, \.mha"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", [*WRITTEN, "a.seg.nrrd", "a.nhdr"])
def test_missing_files_are_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no such file; expected a ") as caught:
        read_image(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_endings_are_found_in_any_case() -> None:
    assert [image_suffix(name) for name in ("A.NII.GZ", "b.Seg.nrrd", "c.MHD")] == [".nii.gz", ".seg.nrrd", ".mhd"]


@pytest.mark.parametrize("name", ["a.seg.nrrd", "a.nhdr"])
def test_endings_that_are_only_read_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not written here"):
        write_image(tmp_path / name, voxels(), np.eye(4))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize(("value", "fits"), [(2**31 - 1, True), (2**31, False)])
def test_whole_numbers_of_64_bits_are_narrowed_only_if_they_fit(
    tmp_path: Path, name: str, value: int, fits: bool
) -> None:
    array = voxels(np.int64)
    array[SPOT] = value
    if fits:
        assert read_image(write_image(tmp_path / name, array, np.eye(4))).array[SPOT] == value
        return
    with pytest.raises(ValueError, match="does not fit into int32"):
        write_image(tmp_path / name, array, np.eye(4))
    assert not list(tmp_path.iterdir())
