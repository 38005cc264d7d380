"""Every transfer syntax gives the same volume as the plain files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medseg.io.bounded.errors import UnreadableFileError
from medseg.io.ct.series import CtSeries, read_series
from tests.io._dicom_files import make_slice, positions

SIGNED, UNSIGNED = np.int16, np.uint16
TYPES = pytest.mark.parametrize("dtype", [SIGNED, UNSIGNED], ids=["signed", "unsigned"])


def noise(k: int, dtype: type[np.integer]) -> np.ndarray:
    """Smooth ground with noise, from far below zero (signed) to far above, 48 x 40 pixels."""
    rng = np.random.default_rng(k)
    low = -2000 if dtype is SIGNED else 0
    ramp = np.linspace(low, 3000, 48 * 40).reshape(48, 40)
    return np.clip(ramp + rng.integers(-40, 40, (48, 40)), low, 4000).astype(dtype)


def write(folder: Path, dtype: type[np.integer], count: int = 3) -> list[Path]:
    folder.mkdir(parents=True)
    paths = []
    for k, position in enumerate(positions(count)):
        paths.append(folder / f"{k}.dcm")
        make_slice(noise(k, dtype), position, instance=k + 1).save_as(paths[-1], enforce_file_format=True)
    return paths


def both(tmp_path: Path, dtype: type[np.integer]) -> tuple[CtSeries, list[Path]]:
    """The plain series, and the paths of a copy that the test compresses in place."""
    write(tmp_path / "plain", dtype)
    return read_series(tmp_path / "plain"), write(tmp_path / "packed", dtype)


def assert_same(plain: CtSeries, folder: Path, syntax: str) -> None:
    packed = read_series(folder)
    assert [item["uid"] for item in packed.facts["transfer_syntax"]] == [syntax]
    np.testing.assert_array_equal(packed.array, plain.array)
    np.testing.assert_array_equal(packed.affine_ras, plain.affine_ras)


@TYPES
@pytest.mark.parametrize(
    ("syntax", "package"),
    [(RLELossless, "pydicom"), (JPEG2000Lossless, "openjpeg"), (JPEGLSLossless, "jpeg_ls")],
    ids=["RLE", "JPEG 2000", "JPEG-LS"],
)
def test_syntaxes_that_pydicom_encodes(tmp_path: Path, dtype: type[np.integer], syntax: str, package: str) -> None:
    pytest.importorskip(package)
    plain, paths = both(tmp_path, dtype)
    for path in paths:
        data = dcmread(path)
        data.compress(syntax)
        data.save_as(path)
    assert_same(plain, tmp_path / "packed", syntax)


@TYPES
@pytest.mark.parametrize(
    ("syntax", "name"),
    [(JPEGLossless, "JPEGLosslessProcess14"), (JPEGLosslessSV1, "JPEGLosslessProcess14_1")],
    ids=["any predictor", "first-order predictor"],
)
def test_lossless_jpeg(tmp_path: Path, dtype: type[np.integer], syntax: str, name: str) -> None:
    gdcm = pytest.importorskip("gdcm")
    pytest.importorskip("libjpeg")
    plain, paths = both(tmp_path, dtype)
    for path in paths:
        _encode_by_gdcm(gdcm, path, name)
        assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert_same(plain, tmp_path / "packed", syntax)


def _encode_by_gdcm(gdcm, path: Path, name: str) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@TYPES
def test_deflated(tmp_path: Path, dtype: type[np.integer]) -> None:
    plain, paths = both(tmp_path, dtype)
    for path in paths:
        data = dcmread(path)
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        data.save_as(path)
    assert_same(plain, tmp_path / "packed", DeflatedExplicitVRLittleEndian)


def _write_big_endian(path: Path, pixels: np.ndarray, k: int, **tags: tuple[str, int]) -> None:
    data = make_slice(pixels, positions(3)[k], instance=k + 1)
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    data.set_original_encoding(False, False)
    for keyword, (vr, value) in tags.items():
        data.add_new(keyword, vr, value)
    data.save_as(path, enforce_file_format=True)
    assert struct.pack(">HH2sH", 0x0028, 0x0010, b"US", 2) + struct.pack(">H", len(pixels)) in path.read_bytes()


@TYPES
def test_big_endian(tmp_path: Path, dtype: type[np.integer]) -> None:
    plain, paths = both(tmp_path, dtype)
    for k, path in enumerate(paths):
        _write_big_endian(path, noise(k, dtype), k)
    assert_same(plain, tmp_path / "packed", ExplicitVRBigEndian)


@pytest.mark.parametrize(("vr", "written"), [("SS", -2000), ("US", 63536)], ids=["as signed", "as unsigned"])
def test_padding_in_big_endian_files(tmp_path: Path, vr: str, written: int) -> None:
    for k in range(3):
        pixels = np.maximum(noise(k, SIGNED), -1990)
        pixels[:3] = -2000
        _write_big_endian(tmp_path / str(k), pixels, k, PixelPaddingValue=(vr, written))
    array = read_series(tmp_path).array
    assert (array[:, :3] == -1024).all()
    assert array[:, 4:].min() < -1024, "what is below air and no padding is kept"


def test_series_of_several_syntaxes_are_read_slice_by_slice(tmp_path: Path) -> None:
    pytest.importorskip("openjpeg")
    plain, paths = both(tmp_path, SIGNED)
    for path, syntax in zip(paths, (RLELossless, JPEG2000Lossless), strict=False):
        data = dcmread(path)
        data.compress(syntax)
        data.save_as(path)
    packed = read_series(tmp_path / "packed")
    assert len(packed.facts["transfer_syntax"]) == 3
    np.testing.assert_array_equal(packed.array, plain.array)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless], ids=["JPEG 2000", "JPEG-LS"])
def test_a_stream_that_declares_another_size_is_not_decoded(tmp_path: Path, syntax: str) -> None:
    pytest.importorskip("openjpeg" if syntax == JPEG2000Lossless else "jpeg_ls")
    paths = write(tmp_path / "x", SIGNED)
    data = dcmread(paths[1])
    data.compress(syntax)
    marker, place = (b"\xff\x4f\xff\x51", 8) if syntax == JPEG2000Lossless else (b"\xff\xf7", 5)
    stream = bytearray(data.PixelData)
    start = stream.index(marker) + place
    width = 4 if syntax == JPEG2000Lossless else 2
    stream[start : start + width] = (60000).to_bytes(width, "big")
    data.PixelData = bytes(stream)
    data.save_as(paths[1])
    with pytest.raises(UnreadableFileError, match=r"60000 .*but the header says 48 x 40 with 1"):
        read_series(tmp_path / "x")


def test_the_real_compressed_series_decodes(real_data) -> None:
    series = read_series(real_data("abdomen_totalseg/example_ct_dicom"))
    assert [item["uid"] for item in series.facts["transfer_syntax"]] == [JPEG2000Lossless]
    assert series.array.shape == (512, 512, 20)


def test_a_syntax_that_no_decoder_reads_is_named_and_not_called_damaged(tmp_path: Path) -> None:
    for k, position in enumerate(positions(2)):
        data = make_slice(noise(k, SIGNED), position)
        data.file_meta.TransferSyntaxUID = UID("1.3.840.10008.1.2.8.1")  # pydicom does not write the real one
        data.save_as(tmp_path / f"IM{k}", implicit_vr=False, little_endian=True)
        stored = (tmp_path / f"IM{k}").read_bytes()
        (tmp_path / f"IM{k}").write_bytes(stored.replace(b"1.3.840.10008.1.2.8.1", b"1.2.840.10008.1.2.8.1", 1))
    with pytest.raises(UnreadableFileError) as caught:
        read_series(tmp_path)
    assert "Deflated Image Frame Compression (1.2.840.10008.1.2.8.1) is not supported: " in str(caught.value)
    assert "damaged" not in str(caught.value)
