"""NIfTI reading and writing with exact geometry, against nibabel and files edited by hand."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.geometry import direction_of, make_affine, spacing_of
from medseg.io.volumes.assumptions import ImageAssumptions
from medseg.io.volumes.nifti import find_nifti, read_nifti, write_nifti, write_nifti_like

SHAPE = (5, 6, 7)


def oblique_affine(codes: str = "PSR") -> np.ndarray:
    """Permuted and flipped axes, then a turn about the third world axis."""
    tilt = np.deg2rad(11)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    return turn @ make_affine((0.8, 2.5, 1.3), (-31.0, 12.0, 55.0), codes)


def voxels(dtype: Any = np.int16) -> np.ndarray:
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)


def save(path: Path, array: np.ndarray, sform: int = 1, qform: int = 1, unit: str = "mm") -> Path:
    """A file written by nibabel alone, with the given codes."""
    image = nib.Nifti1Image(array, oblique_affine())
    image.set_sform(oblique_affine() if sform else None, code=sform)
    image.set_qform(oblique_affine() if qform else None, code=qform)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


GEOMETRY_FIELDS = (
    "sform_code",
    "qform_code",
    "srow_x",
    "srow_y",
    "srow_z",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "xyzt_units",
)


def geometry_bytes(path: Path) -> dict[str, bytes]:
    """The header's geometry fields, byte for byte."""
    header = nib.load(path).header
    fields = {name: np.asarray(header[name]).tobytes() for name in GEOMETRY_FIELDS}
    return {**fields, "pixdim": np.asarray(header["pixdim"][:4]).tobytes()}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_what_is_written_reads_back_with_value_type_and_affine(tmp_path: Path, name: str, dtype: Any) -> None:
    affine = oblique_affine()
    volume = read_nifti(write_nifti(tmp_path / name, voxels(dtype), affine, "made by a test"))
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, voxels(dtype))
    np.testing.assert_allclose(volume.affine_ras, affine, atol=1e-5)
    assert volume.header["descrip"].item() == b"made by a test"


def test_written_files_say_sform_and_qform_alike(tmp_path: Path) -> None:
    image = nib.load(write_nifti(tmp_path / "a.nii.gz", voxels(), oblique_affine()))
    sform, sform_code = image.get_sform(coded=True)
    qform, qform_code = image.get_qform(coded=True)
    assert (sform_code, qform_code) == (1, 1)
    np.testing.assert_allclose(sform, oblique_affine(), atol=1e-5)
    np.testing.assert_allclose(qform, oblique_affine(), atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(
    ("given", "stored"),
    [("bool", "uint8"), ("int64", "int32"), ("uint64", "uint32"), ("float64", "float32"), ("float16", "float32")],
)
def test_types_that_readers_dislike_are_narrowed(tmp_path: Path, given: str, stored: str) -> None:
    array = voxels() % 2
    volume = read_nifti(write_nifti(tmp_path / "a.nii", array.astype(given), np.eye(4)))
    assert volume.array.dtype == stored
    np.testing.assert_array_equal(volume.array, array)


def test_descriptions_are_cut_to_the_field(tmp_path: Path) -> None:
    volume = read_nifti(write_nifti(tmp_path / "a.nii", voxels(), np.eye(4), "x" * 200))
    assert volume.header["descrip"].item() == b"x" * 79


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2)])
def test_arrays_without_three_axes_are_not_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected an array with three axes"):
        write_nifti(tmp_path / "a.nii", np.zeros(shape, np.uint8), np.eye(4))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("slope", "inter"), [(0.5, 0.0), (1.0, -1024.0), (2.0, 3.0)])
def test_scaled_files_become_float32(tmp_path: Path, slope: float, inter: float) -> None:
    path = save(tmp_path / "a.nii", voxels())
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, slope, inter)  # the header's fields scl_slope and scl_inter
    path.write_bytes(content)
    volume = read_nifti(path)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, voxels() * slope + inter)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 1)], ids=["sform only", "qform only", "both"])
def test_either_form_gives_the_affine(tmp_path: Path, codes: tuple[int, int]) -> None:
    volume = read_nifti(save(tmp_path / "a.nii.gz", voxels(), *codes))
    np.testing.assert_allclose(volume.affine_ras, oblique_affine(), atol=1e-5)
    assert volume.affine_ras.dtype == np.float64


def test_a_fourth_axis_of_length_one_is_dropped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", voxels()[..., None])
    assert read_nifti(path).array.shape == SHAPE


@pytest.mark.parametrize("extra", [(2,), (1, 3)])
def test_more_than_three_axes_are_refused(tmp_path: Path, extra: tuple[int, ...]) -> None:
    array = np.zeros((*SHAPE, *extra), np.int16)
    with pytest.raises(ValueError, match=r"a\.nii: image has shape \(5, 6, 7, .*expected three axes"):
        read_nifti(save(tmp_path / "a.nii", array))


def test_two_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"image has shape \(5, 6\), expected three axes"):
        read_nifti(save(tmp_path / "a.nii", np.zeros((5, 6), np.int16)))


def test_an_image_without_orientation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="orientation is unknown; set one of them"):
        read_nifti(save(tmp_path / "a.nii", voxels(), 0, 0))


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_other_units_than_millimetres_are_refused(tmp_path: Path, unit: str) -> None:
    with pytest.raises(ValueError, match=f"spatial unit is {unit}, expected mm"):
        read_nifti(save(tmp_path / "a.nii", voxels(), unit=unit))


def test_an_unset_unit_counts_as_millimetres(tmp_path: Path) -> None:
    assert read_nifti(save(tmp_path / "a.nii", voxels(), unit="unknown")).array.shape == SHAPE


def test_files_that_are_missing_or_no_image_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.nii\.gz: no such file; expected a NIfTI image"):
        read_nifti(tmp_path / "gone.nii.gz")
    for name, content in (("text.nii", b"no image at all" * 50), ("text.nii.gz", b"not gzip"), ("empty.nii", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: not a readable NIfTI image") as caught:
            read_nifti(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cut.nii", "cut.nii.gz"])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, name: str) -> None:
    whole = save(tmp_path / "whole.nii", voxels()).read_bytes()[:-50]
    (tmp_path / name).write_bytes(gzip.compress(whole) if name.endswith("gz") else whole)
    with pytest.raises(ValueError, match=f"{name}: voxel data cannot be read .* may be cut off") as caught:
        read_nifti(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_compressed_stream_that_ends_early_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 30000, (20, 20, 20)).astype(np.int16)
    whole = save(tmp_path / "whole.nii.gz", noise).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.nii\.gz: voxel data cannot be read .* may be cut off"):
        read_nifti(tmp_path / "cut.nii.gz")


@pytest.mark.parametrize("codes", [(2, 1), (1, 0), (0, 1), (1, 1), (4, 3), (0, 0)])
def test_results_copy_the_geometry_of_their_source_bit_for_bit(tmp_path: Path, codes: tuple[int, int]) -> None:
    source = save(tmp_path / "source.nii.gz", voxels(), *codes)
    mask = (voxels() % 3 == 0).astype(np.uint8)
    result = write_nifti_like(tmp_path / "mask.nii.gz", mask, source)
    assert geometry_bytes(result) == geometry_bytes(source)
    image = nib.load(result)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), mask)
    assert image.get_data_dtype() == np.uint8


def test_the_header_of_a_source_serves_as_well_as_its_file_and_stays_as_it_is(tmp_path: Path) -> None:
    source = save(tmp_path / "source.nii.gz", voxels(), 2, 1)
    mask, header = (voxels() % 3 == 0).astype(np.uint8), read_nifti(source).header
    before = header.binaryblock
    by_file = write_nifti_like(tmp_path / "by_file.nii", mask, source)
    by_header = write_nifti_like(tmp_path / "by_header.nii", mask, header)
    assert by_header.read_bytes() == by_file.read_bytes()
    assert header.binaryblock == before
    with pytest.raises(ValueError, match=r"by_header\.nii: grid is"):
        write_nifti_like(by_header, mask[:-1], header)


def test_sform_and_qform_that_disagree_are_both_kept(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels(), oblique_affine())
    image.set_sform(oblique_affine(), code=2)
    image.set_qform(make_affine((0.8, 2.5, 1.3), (1, 2, 3), "LPS"), code=1)
    nib.save(image, tmp_path / "source.nii")
    result = write_nifti_like(tmp_path / "mask.nii", voxels() > 3, tmp_path / "source.nii")
    assert geometry_bytes(result) == geometry_bytes(tmp_path / "source.nii")


def test_scaling_and_display_range_of_the_source_are_not_copied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels(np.float32) * 3 - 1000, oblique_affine())
    image.header.set_data_dtype(np.int16)
    image.header["cal_min"], image.header["cal_max"] = -100, 300
    nib.save(image, tmp_path / "source.nii")
    assert nib.load(tmp_path / "source.nii").dataobj.slope != 1
    result = nib.load(write_nifti_like(tmp_path / "mask.nii", voxels() % 2, tmp_path / "source.nii"))
    assert (result.dataobj.slope, result.dataobj.inter) == (1, 0)
    assert (float(result.header["cal_min"]), float(result.header["cal_max"])) == (0, 0)


def test_a_result_of_another_shape_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "source.nii", voxels())
    with pytest.raises(ValueError, match=r"grid is \(5, 6, 7\), but the result has shape \(7, 6, 5\)"):
        write_nifti_like(tmp_path / "mask.nii", np.zeros((7, 6, 5), np.uint8), source)
    assert not (tmp_path / "mask.nii").exists()


def test_a_real_ct_keeps_its_geometry(tmp_path: Path, real_data: Any) -> None:
    source = real_data("abdomen_totalseg/example_ct.nii.gz")
    volume = read_nifti(source)
    result = write_nifti_like(tmp_path / "mask.nii.gz", volume.array > 100, source)
    assert geometry_bytes(result) == geometry_bytes(source)
    np.testing.assert_array_equal(nib.load(result).affine, nib.load(source).affine)


def test_finding_takes_the_nifti_files_of_one_folder_in_order(tmp_path: Path) -> None:
    for name in ("b.nii", "a.nii.gz", "C.NII.GZ", "notes.txt", "below/d.nii", "folder.nii/e.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [Path(path).name for path in find_nifti(tmp_path)] == ["C.NII.GZ", "a.nii.gz", "b.nii"]


def test_finding_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone: no such folder"):
        find_nifti(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"no NIfTI file \(\.nii or \.nii\.gz\) in this folder"):
        find_nifti(tmp_path)


def test_free_text_and_extensions_of_the_source_do_not_reach_the_result(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5), dtype=np.int16), np.diag([2.0, 2.0, 3.0, 1.0]))
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = b"CANARY"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"CANARY"))
    nib.save(image, tmp_path / "source.nii")
    write_nifti_like(tmp_path / "mask.nii", np.ones((3, 4, 5), dtype=np.uint8), tmp_path / "source.nii")
    assert b"CANARY" in (tmp_path / "source.nii").read_bytes()
    assert b"CANARY" not in (tmp_path / "mask.nii").read_bytes()


class TestTwoStatementsOfTheSpacing:
    """The sform decides, then the qform; a pixdim that contradicts the sform is named with both figures."""

    def _saved(self, path: Path, sform: tuple[float, ...], qform: tuple[float, ...] | None) -> Path:
        image = nib.Nifti1Image(voxels(), np.diag([*sform, 1.0]))
        image.set_sform(np.diag([*sform, 1.0]), code=1)
        image.set_qform(None if qform is None else np.diag([*qform, 1.0]), code=0 if qform is None else 1)
        image.header.set_xyzt_units("mm")
        nib.save(image, path)
        return path

    def _with_pixdim(self, path: Path, pixdim: tuple[float, ...]) -> Path:
        content = bytearray(path.read_bytes())
        struct.pack_into("<3f", content, 80, *pixdim)
        path.write_bytes(content)
        return path

    def test_pixdim_beside_a_sform_of_another_spacing(self, tmp_path: Path) -> None:
        path = self._with_pixdim(self._saved(tmp_path / "a.nii", (1, 1, 1), None), (0.866, 0.866, 0.796))
        volume = read_nifti(path)
        np.testing.assert_array_equal(volume.affine_ras, np.eye(4))
        (line,) = volume.warnings
        assert "sform has a spacing of 1 x 1 x 1 mm, pixdim says 0.866 x 0.866 x 0.796 mm" in line
        assert "volumes differ by a factor of 1.68" in line
        assert "the sform is used" in line

    @pytest.mark.parametrize("code", [1, 2])
    def test_a_user_who_knows_that_pixdim_is_right_says_so(self, tmp_path: Path, code: int) -> None:
        path = self._with_pixdim(self._saved(tmp_path / "a.nii", (1, 1, 1), None), (0.866, 0.866, 0.796))
        content = bytearray(path.read_bytes())
        struct.pack_into("<h", content, 254, code)
        path.write_bytes(content)
        volume = read_nifti(path, assume=ImageAssumptions(spacing_from="pixdim"))
        np.testing.assert_allclose(volume.affine_ras, np.diag([0.866, 0.866, 0.796, 1]), atol=1e-6)
        assert volume.warnings == (
            "the sform has a spacing of 1 x 1 x 1 mm: 0.866 x 0.866 x 0.796 mm of pixdim used (--spacing-from pixdim)",
        )
        assert int(volume.header["sform_code"]) == code

    def test_directions_and_origin_stay_when_pixdim_is_used(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii", voxels(), oblique_affine())
        path = self._with_pixdim(tmp_path / "a.nii", (0.4, 5.0, 1.3))
        found = read_nifti(path, assume=ImageAssumptions(spacing_from="pixdim")).affine_ras
        np.testing.assert_allclose(spacing_of(found), (0.4, 5.0, 1.3), atol=1e-6)
        np.testing.assert_allclose(direction_of(found), direction_of(oblique_affine()), atol=1e-6)
        np.testing.assert_allclose(found[:3, 3], oblique_affine()[:3, 3], atol=1e-5)

    def test_nothing_is_assumed_where_both_agree(self, tmp_path: Path) -> None:
        path = self._saved(tmp_path / "a.nii", (1, 2, 3), (1, 2, 3))
        assert read_nifti(path, assume=ImageAssumptions(spacing_from="pixdim")).warnings == ()

    def test_a_qform_beside_a_sform_of_another_spacing(self, tmp_path: Path) -> None:
        (line,) = read_nifti(self._saved(tmp_path / "a.nii", (2, 2, 2), (1, 1, 3))).warnings
        assert "spacing 2 x 2 x 2 and 1 x 1 x 3 mm); the sform is used" in line

    @pytest.mark.parametrize("pixdim", [(1, 2, 3), (1.00001, 2, 3)])
    def test_one_spacing_said_twice_is_no_contradiction(self, tmp_path: Path, pixdim: tuple[float, ...]) -> None:
        path = self._with_pixdim(self._saved(tmp_path / "a.nii", (1, 2, 3), None), pixdim)
        assert read_nifti(path).warnings == ()


def test_several_scaled_values_a_voxel_keep_the_geometry_of_another_file(tmp_path: Path) -> None:
    affine = np.array([[0, -0.8, 0.1, 5.0], [0.7, 0, 0, -3.0], [0, 0.1, 2.5, 1.0], [0, 0, 0, 1]])
    source = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine)
    nib.save(source, tmp_path / "source.nii")
    stored = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 2)).astype(np.uint8)
    path = write_nifti_like(tmp_path / "map.nii.gz", stored, tmp_path / "source.nii", slope=1 / 255)
    found = nib.load(path)
    np.testing.assert_array_equal(found.affine, nib.load(tmp_path / "source.nii").affine)
    assert found.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(found.dataobj.get_unscaled()), stored)
    np.testing.assert_allclose(found.get_fdata(), stored / 255, atol=1e-6)
