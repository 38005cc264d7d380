"""NIfTI headers that contradict themselves or their file are refused in one line; no wrong image is returned."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.io.bounded.errors import DataError
from medseg.io.volumes.nifti import read_nifti, write_nifti, write_nifti_like
from tests.io._image_files import SHAPE, oblique_affine, voxels

# Byte offsets of NIfTI-1 header fields.
FIELDS = {
    "dim": (40, "<8h"),
    "dim0": (40, "<h"),
    "dim1": (42, "<h"),
    "datatype": (70, "<h"),
    "bitpix": (72, "<h"),
    "pixdim": (76, "<8f"),
    "qfac": (76, "<f"),
    "pixdim1": (80, "<f"),
    "vox_offset": (108, "<f"),
    "slope_inter": (112, "<2f"),
    "xyzt_units": (123, "<B"),
    "codes": (252, "<2h"),
    "quatern_b": (256, "<f"),
    "qoffset_x": (268, "<f"),
    "srow_x": (280, "<4f"),
    "magic": (344, "<4s"),
}


def changed(path: Path, **fields: Any) -> Path:
    """A valid file with header fields overwritten; ``a.nii.gz`` is compressed afterwards."""
    plain = write_nifti(path.with_name("plain.nii"), voxels(), oblique_affine())
    content = bytearray(plain.read_bytes())
    for name, value in fields.items():
        offset, layout = FIELDS[name]
        struct.pack_into(layout, content, offset, *(value if isinstance(value, tuple) else (value,)))
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


BAD_HEADERS = [
    ({"dim0": 0}, "dim.0. is 0, expected 3"),
    ({"dim0": 9}, "dim.0. is 9, expected 3"),
    ({"dim1": 0}, "declares 0 x 6 x 7 voxels, expected at least 1"),
    ({"dim1": -5}, "declares -5 x 6 x 7 voxels, expected at least 1"),
    ({"dim1": 6}, "504 bytes of voxels"),
    ({"dim1": 3}, None),
    ({"datatype": 3}, r"datatype is 3 \(unknown\)"),
    ({"datatype": 128}, r"datatype is 128 \(RGB24\), expected whole or real numbers"),
    ({"datatype": 32}, r"datatype is 32 \(complex64\)"),
    ({"datatype": 512, "bitpix": 8}, r"bitpix is 8, but datatype 512 \(uint16\) has 16 bits"),
    ({"pixdim1": 0.0}, "pixdim .spacing. is .*expected three positive numbers"),
    ({"pixdim1": -1.0}, "pixdim .spacing. is"),
    ({"pixdim1": np.nan}, "pixdim .spacing. is"),
    ({"pixdim1": 2000.0}, "the qform has a spacing of 2000 x"),
    ({"vox_offset": 100.0}, "vox_offset is 100, expected a whole number from 352"),
    ({"vox_offset": 352.5}, "vox_offset is 352.5"),
    ({"vox_offset": np.nan}, "vox_offset is nan"),
    ({"vox_offset": 1e9}, r"vox_offset is 1e\+09"),
    ({"slope_inter": (2.0, np.nan)}, "scl_slope is 2 but scl_inter is nan"),
    ({"slope_inter": (1e38, 0.0)}, "give values beyond float32"),
    ({"xyzt_units": 7}, "spatial unit is code 7, expected mm"),
    ({"codes": (0, 0)}, "codes are both 0"),
    ({"codes": (1, 77)}, "sform_code is 77, expected 0 to 5"),
    ({"codes": (-1, 1)}, "qform_code is -1, expected 0 to 5"),
    ({"qfac": 3.0}, "qfac .pixdim.0.. is 3, expected 1 or -1"),
    ({"quatern_b": np.nan}, "quaternion is .*expected three finite numbers"),
    ({"quatern_b": 2.0}, "is not a rotation"),
    ({"qoffset_x": np.inf}, "the qform holds values that are not finite numbers"),
    ({"srow_x": (np.nan, 0, 0, 0)}, "the sform holds values that are not finite numbers"),
    ({"srow_x": (0.0, 0.0, 0.0, 0.0)}, "the sform (is not invertible|has a spacing of)"),
    ({"srow_x": (1e30, 0.0, 0.0, 0.0)}, "the sform has a spacing of"),
    ({"srow_x": (1.0, 0.0, 0.0, 1e9)}, "the first voxel 1e.09 mm from the origin"),
    ({"magic": b"ni1\0"}, "not a readable NIfTI image .no NIfTI-1 or NIfTI-2 header"),
]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(("fields", "words"), BAD_HEADERS, ids=[" ".join(map(str, f.items())) for f, _ in BAD_HEADERS])
def test_headers_that_make_no_image_are_one_line(
    tmp_path: Path, name: str, fields: dict[str, Any], words: str | None
) -> None:
    path = changed(tmp_path / name, **fields)
    if words is None:  # 168 bytes too many are within the padding that some writers leave
        assert read_nifti(path).array.shape == (3, 6, 7)
        return
    if fields == {"dim1": 6} and name == "a.nii.gz":
        words = "declares 504 bytes of voxels, the stream has 420"
    with pytest.raises(DataError, match=words) as caught:
        read_nifti(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_that_the_header_does_not_declare_are_refused(tmp_path: Path, name: str) -> None:
    content = changed(tmp_path / "b.nii").read_bytes() + bytes(5000)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(DataError, match="header and voxels contradict each other"):
        read_nifti(tmp_path / name)


@pytest.mark.parametrize("byte", [0, 60, -8, -3])
def test_a_changed_byte_of_a_compressed_file_is_found(tmp_path: Path, byte: int) -> None:
    noise = np.random.default_rng(0).integers(0, 30000, SHAPE).astype(np.int16)
    content = bytearray(write_nifti(tmp_path / "a.nii.gz", noise, np.eye(4)).read_bytes())
    content[byte] ^= 0x55
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.nii\.gz: "):
        read_nifti(tmp_path / "a.nii.gz")


def test_names_that_say_other_than_the_contents_are_refused(tmp_path: Path) -> None:
    content = changed(tmp_path / "b.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"no gzip inside"):
        read_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=r"rename it to a\.nii\.gz"):
        read_nifti(tmp_path / "a.nii")
    (tmp_path / "a.img").write_bytes(content)
    with pytest.raises(DataError, match=r"name ends in \.nii or \.nii\.gz"):
        read_nifti(tmp_path / "a.img")


def test_big_endian_files_give_native_values(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels(), oblique_affine(), nib.Nifti1Header(endianness=">"))
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    volume = read_nifti(tmp_path / "a.nii")
    assert volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.affine_ras, oblique_affine(), atol=1e-5)


def test_nifti_2_is_read_and_written_like_its_source(tmp_path: Path) -> None:
    image = nib.Nifti2Image(voxels(), oblique_affine())
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "a.nii.gz")
    volume = read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.array, voxels())
    np.testing.assert_array_equal(volume.affine_ras, oblique_affine())
    result = write_nifti_like(tmp_path / "mask.nii.gz", voxels() > 3, tmp_path / "a.nii.gz")
    assert isinstance(nib.load(result), nib.Nifti2Image)
    np.testing.assert_array_equal(read_nifti(result).affine_ras, oblique_affine())
    np.testing.assert_array_equal(read_nifti(result).array, voxels() > 3)


def test_header_extensions_are_passed_over(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels(), oblique_affine())
    image.header.set_xyzt_units("mm")
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"words" * 1000))
    for name in ("a.nii", "a.nii.gz"):
        nib.save(image, tmp_path / name)
        np.testing.assert_array_equal(read_nifti(tmp_path / name).array, voxels())


def test_a_qfac_of_zero_is_one_as_the_standard_has_it(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels(), np.diag([2.0, 3.0, 4.0, 1.0]))
    image.set_qform(image.affine, code=1)
    image.set_sform(None, code=0)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<f", content, 76, 0.0)
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii").affine_ras, np.diag([2, 3, 4, 1]), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint32, np.int64, np.uint64, np.float64])
def test_rarer_types_are_read_as_they_are(tmp_path: Path, dtype: Any) -> None:
    image = nib.Nifti1Image(
        voxels(dtype) if dtype != np.int8 else voxels().astype(np.int8), oblique_affine(), dtype=dtype
    )
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "a.nii.gz")
    volume = read_nifti(tmp_path / "a.nii.gz")
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, np.asanyarray(image.dataobj))
