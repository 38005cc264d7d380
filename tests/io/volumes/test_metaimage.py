"""MetaImage headers are parsed strictly: a header with one meaning is read, any other is refused in one line."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from medseg.geometry import make_affine
from medseg.io.bounded.errors import DataError
from medseg.io.volumes.metaimage import read_metaimage, write_metaimage
from medseg.io.volumes.metaimage_header import read_metaimage_header
from tests.io._image_files import SHAPE, deflated, meta_header, oblique_affine, voxels, write_meta


def read(path: Path, data: bytes | None = None, **changes: str | None) -> np.ndarray:
    return read_metaimage(write_meta(path / "a.mha", data, **changes)).array


def test_a_plain_file_is_read_with_its_lps_geometry(tmp_path: Path) -> None:
    path = write_meta(
        tmp_path / "a.mha",
        TransformMatrix="0 1 0 0 0 -1 1 0 0",  # i runs along y, j against z, k along x
        Offset="10 20 30",
        ElementSpacing="2 3 4",
    )
    volume = read_metaimage(path)
    np.testing.assert_array_equal(volume.array, voxels())
    lps = np.array([[0, 0, 4, 10], [2, 0, 0, 20], [0, -3, 0, 30], [0, 0, 0, 1]])
    np.testing.assert_array_equal(volume.affine_ras, np.diag([-1, -1, 1, 1]) @ lps)
    assert volume.warnings == ()


def test_synonyms_mean_the_same_and_may_not_disagree(tmp_path: Path) -> None:
    path = write_meta(
        tmp_path / "a.mha", Offset=None, Position="1 2 3", TransformMatrix=None, Rotation="1 0 0 0 1 0 0 0 1"
    )
    np.testing.assert_array_equal(read_metaimage(path).affine_ras[:3, 3], [-1, -2, 3])
    assert read(tmp_path, Origin="0 0 0").shape == SHAPE
    with pytest.raises(DataError, match="Offset is given twice, as '0 0 0' and '0 0 1'"):
        read(tmp_path, Origin="0 0 1")


def test_the_size_of_elements_stands_for_a_missing_spacing(tmp_path: Path) -> None:
    header = read_metaimage_header(write_meta(tmp_path / "a.mha", ElementSpacing=None, ElementSize="2 2 5"))
    np.testing.assert_array_equal(np.diag(header.affine_ras), [-2, -2, 5, 1])


def test_a_size_of_elements_beside_another_spacing_is_named_and_the_spacing_used(tmp_path: Path) -> None:
    header = read_metaimage_header(write_meta(tmp_path / "a.mha", ElementSpacing="1 1 2", ElementSize="1 1 1.5"))
    np.testing.assert_array_equal(np.diag(header.affine_ras), [-1, -1, 2, 1])
    assert header.warnings == (
        "ElementSize is 1 x 1 x 1.5 mm, but ElementSpacing is 1 x 1 x 2 mm; ElementSpacing is used",
    )
    same = read_metaimage_header(write_meta(tmp_path / "b.mha", ElementSpacing="1 1 2", ElementSize="1 1 2"))
    assert same.warnings == ()


def test_big_endian_voxels_become_native(tmp_path: Path) -> None:
    array = read(tmp_path, voxels(">i2").tobytes(order="F"), BinaryDataByteOrderMSB="True")
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, voxels())


@pytest.mark.parametrize("size", [None, str(len(deflated()))])
def test_compressed_voxels_are_read_with_or_without_their_size(tmp_path: Path, size: str | None) -> None:
    np.testing.assert_array_equal(read(tmp_path, deflated(), CompressedData="True", CompressedDataSize=size), voxels())


def test_a_gzip_member_in_the_place_of_a_zlib_stream_is_read(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(voxels().tobytes(order="F")) + packer.flush()
    np.testing.assert_array_equal(read(tmp_path, data, CompressedData="True"), voxels())


@pytest.mark.parametrize("skip", ["0", "7", "-1"])
def test_a_raw_file_may_have_a_header_of_its_own(tmp_path: Path, skip: str) -> None:
    (tmp_path / "a b.raw").write_bytes(bytes(7 if skip != "0" else 0) + voxels().tobytes(order="F"))
    (tmp_path / "a.mhd").write_text(meta_header(HeaderSize=skip, ElementDataFile="a b.raw"))
    np.testing.assert_array_equal(read_metaimage(tmp_path / "a.mhd").array, voxels())


BAD_FIELDS = [
    ({"ObjectType": "Tube"}, "ObjectType is 'Tube', expected Image"),
    ({"NDims": "2"}, "NDims is 2, expected 3"),
    ({"NDims": "three"}, "NDims holds 'three', expected a whole number"),
    ({"NDims": None}, "the header has no NDims"),
    ({"DimSize": "5 6"}, "DimSize holds 2 values, expected 3"),
    ({"DimSize": "5 6 0"}, "declares 5 x 6 x 0 voxels"),
    ({"DimSize": "5 6 -7"}, "declares 5 x 6 x -7 voxels"),
    ({"DimSize": "5 6 8"}, "declares 480 bytes of voxels, the file has 420"),
    ({"DimSize": "5 6 6"}, "420 bytes of voxels, but the header declares"),
    ({"DimSize": "5 6 9999999999999999999"}, "expected a whole number"),
    ({"ElementType": "MET_SHORT_ARRAY"}, "ElementType is 'MET_SHORT_ARRAY', expected one of MET_CHAR"),
    ({"ElementNumberOfChannels": "3"}, "ElementNumberOfChannels is 3, expected 1"),
    ({"BinaryData": "False"}, "BinaryData is False"),
    ({"BinaryData": "maybe"}, "BinaryData is 'maybe', expected True or False"),
    ({"ElementSpacing": "1 1 0"}, "ElementSpacing is '1 1 0', expected three positive"),
    ({"ElementSpacing": "1 1 -2"}, "expected three positive"),
    ({"ElementSpacing": "1 1 nan"}, "ElementSpacing holds 'nan', expected a finite number"),
    ({"ElementSpacing": "1 1 1e999"}, "expected a finite number"),
    ({"ElementSpacing": "1 1 5000"}, "has a spacing of 1 x 1 x 5000 mm"),
    ({"ElementSpacing": None}, "the header has no ElementSize"),
    ({"Offset": "0 0 inf"}, "Offset holds 'inf', expected a finite number"),
    ({"Offset": None}, "the header has no Offset"),
    ({"TransformMatrix": "1 0 0 0 1 0 0 0"}, "TransformMatrix holds 8 values, expected 9"),
    ({"TransformMatrix": "1 0 0 0 2 0 0 0 1"}, "TransformMatrix has triples of length"),
    ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "not invertible"),
    ({"TransformMatrix": None}, "the header has no TransformMatrix"),
    ({"CompressedData": "True"}, "compressed file is damaged"),
    (
        {"CompressedData": "True", "CompressedDataSize": "7"},
        "420 bytes of compressed voxels, but CompressedDataSize is 7",
    ),
    ({"HeaderSize": "10"}, "HeaderSize is 10, expected 0"),
    ({"HeaderSize": "-2"}, "HeaderSize is -2, expected 0"),
    ({"CenterOfRotation": "0 0"}, "CenterOfRotation holds 2 values"),
    ({"Comment": "x" * 9000}, "the text header does not end within"),
    ({"Comment": "a\0b"}, "holds a NUL byte"),
    ({"x" * 90: "1"}, "is not 'Key = Value'"),
]


@pytest.mark.parametrize(("fields", "words"), BAD_FIELDS, ids=[str(fields)[:60] for fields, _ in BAD_FIELDS])
def test_headers_that_make_no_volume_are_one_line(tmp_path: Path, fields: dict[str, str | None], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, **fields)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "a.mha"))


@pytest.mark.parametrize(
    "name",
    [
        "../secret.raw",
        "/etc/passwd",
        "sub/a.raw",
        "..\\secret.raw",
        "C:a.raw",
        "LIST",
        "LIST 2",
        "slice%03d.raw 1 9 1",
        "..",
        "",
        "a.mhd",
        "absent.raw",
        "x" * 300 + ".raw",
    ],
)
def test_data_files_elsewhere_lists_and_patterns_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "case"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path / "secret.raw", folder / "sub/a.raw"):
        place.write_bytes(voxels().tobytes(order="F"))
    (folder / "a.mhd").write_text(meta_header(ElementDataFile=name))
    with pytest.raises(DataError, match=r"ElementDataFile (is|names)"):
        read_metaimage(folder / "a.mhd")


@pytest.mark.parametrize(
    "content", ["", "no header", "ObjectType = Image\n", "= 3\nElementDataFile = LOCAL\n", "\xff\xfe\0"]
)
def test_text_that_is_no_header_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.mhd").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.mhd: ") as caught:
        read_metaimage(tmp_path / "a.mhd")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (deflated()[:-20], "may be cut off"),
        (deflated()[:-2], "may be cut off"),
        (deflated() + b"more", "bytes follow the end"),
        (zlib.compress(bytes(419)), "declares 420 bytes of voxels, the .* compressed bytes hold 419"),
        (zlib.compress(bytes(421)), "holds more bytes than the header declares"),
        (deflated()[:-1] + b"\0", "compressed file is damaged"),
    ],
)
def test_compressed_voxels_that_are_not_exactly_the_declared_are_refused(
    tmp_path: Path, data: bytes, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path, data, CompressedData="True")


def test_what_other_programs_ignore_is_named(tmp_path: Path) -> None:
    fields = {"AnatomicalOrientation": "LPS", "CenterOfRotation": "1 0 0"}
    first, second = read_metaimage(write_meta(tmp_path / "a.mha", **fields)).warnings
    assert first == "AnatomicalOrientation says 'LPS', but TransformMatrix gives RAI, which is used"
    assert second.startswith("CenterOfRotation is not 0 0 0")
    for agreeing in ("RAI", "???"):
        assert read_metaimage(write_meta(tmp_path / "a.mha", AnatomicalOrientation=agreeing)).warnings == ()
    sheared = "1 0 0 0 1 0 0 0.25881904510252074 0.9659258262890683"
    (warning,) = read_metaimage(write_meta(tmp_path / "a.mha", TransformMatrix=sheared)).warnings
    assert "the axes are 15.00 degrees off perpendicular" in warning


def test_a_rewritten_header_never_meets_the_old_voxels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_metaimage(tmp_path / "a.mhd", voxels(), np.eye(4), compress=False)

    def full_disk(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_metaimage(tmp_path / "a.mhd", voxels() + 1, make_affine((2, 2, 2)), compress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.raw"]


def test_axes_that_are_not_perpendicular_are_not_written(tmp_path: Path) -> None:
    affine = oblique_affine()
    affine[:3, 2] += 0.2 * affine[:3, 1]
    with pytest.raises(ValueError, match="degrees off perpendicular, which MetaImage cannot hold"):
        write_metaimage(tmp_path / "a.mha", voxels(), affine)
    with pytest.raises(ValueError, match=r"expected a name that ends in \.mha or \.mhd"):
        write_metaimage(tmp_path / "a.raw", voxels(), np.eye(4))
    assert not list(tmp_path.iterdir())
