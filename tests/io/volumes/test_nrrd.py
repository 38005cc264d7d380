"""NRRD headers are parsed strictly: a named space and three axes in it; anything ambiguous is refused in one line."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.geometry import flip_lps_ras
from medseg.io.bounded.errors import DataError
from medseg.io.volumes.nrrd import read_nrrd, write_nrrd
from tests.io._image_files import nrrd_header, oblique_affine, voxels, write_nrrd_text


def packed() -> bytes:
    return gzip.compress(voxels().tobytes(order="F"))


def read(path: Path, data: bytes | None = None, **changes: str | None) -> np.ndarray:
    return read_nrrd(write_nrrd_text(path / "a.nrrd", data, **changes)).array


@pytest.mark.trap("4.3-19")
def test_the_space_decides_the_signs(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 4, 10], [2, 0, 0, 20], [0, -3, 0, 30], [0, 0, 0, 1.0]])
    changes = {"space_directions": "(0,2,0) (0,0,-3) (4,0,0)", "space_origin": "(10,20,30)"}
    ras = read_nrrd(write_nrrd_text(tmp_path / "ras.nrrd", **changes))
    lps = read_nrrd(write_nrrd_text(tmp_path / "lps.nrrd", **changes, space="left-posterior-superior"))
    np.testing.assert_array_equal(ras.affine_ras, affine)
    np.testing.assert_array_equal(lps.affine_ras, flip_lps_ras(affine))
    np.testing.assert_array_equal(ras.array, voxels())


@pytest.mark.trap("4.3-19")
@pytest.mark.parametrize("space", ["LPS", "RAS"])
@pytest.mark.parametrize("compress", [False, True])
def test_either_space_is_written(tmp_path: Path, space: Any, compress: bool) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", voxels(), oblique_affine(), space, compress)
    volume = read_nrrd(path)
    assert volume.header.space == space
    np.testing.assert_array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.affine_ras, oblique_affine(), rtol=0, atol=1e-14)
    sitk = pytest.importorskip("SimpleITK")
    point = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((2, 5, 3))
    np.testing.assert_allclose(point, flip_lps_ras((oblique_affine() @ [2, 5, 3, 1])[:3]), atol=1e-9)


def test_equal_images_are_equal_files(tmp_path: Path) -> None:
    files = [write_nrrd(tmp_path / name, voxels(), oblique_affine()) for name in ("a.nrrd", "b.nrrd")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("position", [0, 3])
def test_a_list_of_one_is_dropped_and_a_longer_one_refused(tmp_path: Path, position: int) -> None:
    def with_list(count: int) -> dict[str, str]:
        texts = {
            "sizes": ["5", "6", "7"],
            "kinds": ["domain"] * 3,
            "space_directions": ["(1,0,0)", "(0,1,0)", "(0,0,1)"],
        }
        for key, item in (("sizes", str(count)), ("kinds", "list"), ("space_directions", "none")):
            texts[key].insert(position, item)
        return {"dimension": "4", **{key: " ".join(items) for key, items in texts.items()}}

    np.testing.assert_array_equal(read(tmp_path, **with_list(1)), voxels())
    with pytest.raises(DataError, match=r"2 layers, expected one volume; read the segments"):
        read(tmp_path, voxels().tobytes(order="F") * 2, **with_list(2))


def test_fields_in_other_spellings_are_understood(tmp_path: Path) -> None:
    changes = {
        "space": None,
        "Space": "LPS",
        "type": "signed short int",
        "encoding": "GZ",
        "space_directions": "  (1, 0, 0)   (0,1,0)\t(0,0,1.0e0) ",
        "content": "anything: goes",
        "space_units": '"mm" "mm" "mm"',
        "centerings": "cell cell cell",
        "oldmin": "0",
    }
    assert np.array_equal(read(tmp_path, packed(), **changes), voxels())


def test_windows_line_ends_are_understood(tmp_path: Path) -> None:
    text = nrrd_header().replace("\n", "\r\n")
    (tmp_path / "a.nrrd").write_bytes(text.encode() + voxels().tobytes(order="F"))
    np.testing.assert_array_equal(read_nrrd(tmp_path / "a.nrrd").array, voxels())


@pytest.mark.parametrize(("skip", "encoding"), [("0", "gzip"), ("9", "raw"), ("0", "raw")])
def test_voxels_may_lie_in_a_file_of_the_same_folder(tmp_path: Path, skip: str, encoding: str) -> None:
    data = packed() if encoding == "gzip" else bytes(int(skip)) + voxels().tobytes(order="F")
    (tmp_path / "a.raw").write_bytes(data)
    (tmp_path / "a.nhdr").write_text(nrrd_header(data_file="a.raw", byte_skip=skip, encoding=encoding))
    np.testing.assert_array_equal(read_nrrd(tmp_path / "a.nhdr").array, voxels())


@pytest.mark.parametrize(
    "name", ["../a.raw", "/etc/passwd", "LIST", "LIST 3", "a%02d.raw 1 9 1", "absent.raw", "a.nhdr"]
)
def test_data_files_elsewhere_lists_and_patterns_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "case").mkdir()
    (tmp_path / "a.raw").write_bytes(voxels().tobytes(order="F"))
    (tmp_path / "case/a.nhdr").write_text(nrrd_header(data_file=name))
    with pytest.raises(DataError, match=r"data file (is|names)"):
        read_nrrd(tmp_path / "case/a.nhdr")


def test_big_endian_voxels_become_native(tmp_path: Path) -> None:
    array = read(tmp_path, voxels(">i2").tobytes(order="F"), endian="big")
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, voxels())


BAD_FIELDS = [
    ({"space": None}, "names no space, so the orientation is unknown"),
    ({"space": None, "space_dimension": "3"}, "names no space"),
    ({"space": "scanner-xyz"}, "space is 'scanner-xyz', expected left-posterior-superior"),
    ({"space": "left-anterior-superior"}, "space is 'left-anterior-superior', expected"),
    ({"space": "3D-right-handed"}, "space is '3D-right-handed'"),
    ({"space_units": '"mm" "mm" "um"'}, "space units are .*expected mm"),
    ({"space_directions": None}, "the header has no space directions"),
    ({"space_directions": "(1,0,0) (0,1,0)"}, "expected 3 vectors"),
    ({"space_directions": "(1,0,0) (0,1,0) (0,0,1,0)"}, "expected a vector .x,y,z."),
    ({"space_directions": "(1,0,0) (0,1,0) (0,0,nan)"}, "expected a finite number"),
    ({"space_directions": "(1,0,0) (0,1,0) none"}, "2 spatial axes and 1 without direction"),
    ({"space_directions": "(1,0,0) (1,0,0) (0,0,1)"}, "not invertible"),
    ({"space_directions": "(1,0,0) (0,1,0) (0,0,0)"}, "has a spacing of 1 x 1 x 0 mm"),
    ({"space_directions": "(1,0,0) x (0,1,0) (0,0,1)"}, "expected 3 vectors"),
    ({"space_origin": None}, "the header has no space origin"),
    ({"space_origin": "0 0 0"}, "expected a vector"),
    ({"space_origin": "(0,0,1e40)"}, "expected a finite number"),
    ({"spacings": "1 1 2"}, "both spacings and space directions are given, .* 1 x 1 x 2 and 1 x 1 x 1 mm"),
    ({"spacings": "1 1"}, "spacings are given for 2 axes, expected 3"),
    ({"spacings": "1 1 x"}, "spacings .*expected a finite number"),
    ({"dimension": "2"}, "sizes holds 3 values, expected 2"),
    ({"dimension": "16", "sizes": "1 " * 16}, "dimension is 16, expected 3"),
    ({"dimension": "-1"}, "dimension is -1"),
    ({"sizes": "5 6"}, "sizes holds 2 values, expected 3"),
    ({"sizes": "5 6 0"}, "declares 5 x 6 x 0 voxels"),
    ({"sizes": "5 6 8"}, "declares 480 bytes of voxels, the file has 420"),
    ({"sizes": "5 6 6"}, "420 bytes of voxels, but the header declares"),
    ({"kinds": "domain domain"}, "kinds names 2 axes"),
    ({"kinds": "domain domain time"}, "axis 2 is of kind 'time', expected domain or space"),
    ({"kinds": "list domain domain"}, "axis 0 is of kind 'list'"),
    ({"type": "block"}, "type is 'block', expected whole or real numbers"),
    ({"type": "half"}, "type is 'half'"),
    ({"endian": None}, "the header has no endian"),
    ({"endian": "middle"}, "endian is 'middle', expected little or big"),
    ({"encoding": "bzip2"}, "encoding is 'bzip2', expected raw or gzip"),
    ({"encoding": "ascii"}, "encoding is 'ascii'"),
    ({"encoding": "gzip"}, "compressed file is damaged"),
    ({"line_skip": "1"}, "line skip is 1, expected 0"),
    ({"byte_skip": "-1"}, "byte skip is -1"),
    ({"colour": "red"}, "has a field that NRRD does not define"),
    ({"Type": "int"}, "type is given twice"),
    ({"content": "x" * 300_000}, "the text header does not end"),
    ({"content": "a\0b"}, "holds a NUL byte"),
]


@pytest.mark.parametrize(("fields", "words"), BAD_FIELDS, ids=[str(fields)[:60] for fields, _ in BAD_FIELDS])
def test_headers_that_make_no_volume_are_one_line(tmp_path: Path, fields: dict[str, str | None], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, **fields)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "a.nrrd"))


@pytest.mark.parametrize(
    "content", [b"", b"NRRD0009\n\n", b"NRRD0004", b"NRRD0004\nno field\n\n", b"\x1f\x8b\0\0", b"P5\n"]
)
def test_files_that_are_no_nrrd_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.nrrd").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.nrrd: ") as caught:
        read_nrrd(tmp_path / "a.nrrd")
    assert "\n" not in str(caught.value)


def test_compressed_voxels_must_be_exactly_the_declared(tmp_path: Path) -> None:
    for data, words in [
        (packed()[:-9], "may be cut off"),
        (packed() + b"more", "compressed file is damaged"),
        (packed()[:-8] + bytes(8), "compressed file is damaged"),
        (gzip.compress(bytes(421)), "holds more bytes than the header declares"),
    ]:
        with pytest.raises(DataError, match=words):
            read(tmp_path, data, encoding="gzip")
    halves = [gzip.compress(part) for part in (voxels().tobytes(order="F")[:99], voxels().tobytes(order="F")[99:])]
    np.testing.assert_array_equal(read(tmp_path, b"".join(halves) + bytes(20), encoding="gzip"), voxels())


def test_oblique_axes_are_named_and_kept(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[1, 2] = np.tan(np.radians(15))
    volume = read_nrrd(write_nrrd(tmp_path / "a.nrrd", voxels(), affine))
    np.testing.assert_array_equal(volume.affine_ras, affine)
    (warning,) = volume.warnings
    assert "15.00 degrees off perpendicular" in warning


def test_wrong_names_and_spaces_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a name that ends in \.nrrd"):
        write_nrrd(tmp_path / "a.nhdr", voxels(), np.eye(4))
    with pytest.raises(ValueError, match="space is 'LAS', expected 'LPS' or 'RAS'"):
        write_nrrd(tmp_path / "a.nrrd", voxels(), np.eye(4), "LAS")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "heart_seg.nrrd",
        "liver_seg.nrrd",
        "liver_spine_seg.nrrd",
        "liver_spine_gapped_seg.nrrd",
        "spine_seg_label5.nrrd",
        "partial_overlaps-2.nrrd",
        "sparse_labelmap_ppv5_seg.nrrd",
        "23x38x3/nrrd/label.nrrd",
    ],
)
def test_real_segmentations_are_read_as_simpleitk_reads_them(real_data: Any, name: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    path = real_data(f"dicom_seg_dcmqi/{name}")
    volume, image = read_nrrd(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(volume.array.T, sitk.GetArrayViewFromImage(image))
    assert volume.array.any()
    assert volume.header.space == "LPS"
    for index in ((0, 0, 0), tuple(n - 1 for n in volume.array.shape)):
        point = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(flip_lps_ras((volume.affine_ras @ [*index, 1])[:3]), point, atol=1e-6)


@pytest.mark.parametrize("spacings", ["1 1 1", "nan nan nan", "nan 1 NaN"])
def test_spacings_that_say_what_the_directions_say_are_no_contradiction(tmp_path: Path, spacings: str) -> None:
    header = read_nrrd(write_nrrd_text(tmp_path / "a.nrrd", spacings=spacings)).header
    assert header.warnings == ()
    np.testing.assert_array_equal(header.affine_ras, np.eye(4))
