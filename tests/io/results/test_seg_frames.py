"""Compressed segmentations: decoded where pydicom or a plug-in can, otherwise refused by the syntax's name."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.native import _encode_segment
from pydicom.uid import UID, JPEG2000Lossless, RLELossless

from medseg.io.bounded.errors import UnreadableFileError
from medseg.io.results.seg_read import read_seg
from medseg.io.results.seg_write import write_seg
from tests.io._clinical import Example, blocks, make_example

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
STAND_IN = "1.3.840.10008.1.2.8.1"  # pydicom writes a private syntax where it refuses one that it does not know


class Written(NamedTuple):
    """A binary SEG on disk and what it was made of."""

    path: Path
    example: Example


@pytest.fixture
def written(tmp_path: Path) -> Written:
    labels = np.zeros((71, 67, 5), np.uint8)  # an odd number of pixels: frames end within a byte
    labels[3:12, 4:11] = blocks()
    example = make_example(tmp_path / "ct", labels=labels)
    write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, {1: "liver", 2: "lung"})
    return Written(tmp_path / "s.dcm", example)


def compress(written: Written, encode: Callable[[NDArray[np.uint8]], bytes], syntax: str) -> Path:
    """A copy whose frames are encoded one by one; the syntax may be one that pydicom does not know."""
    data = pydicom.dcmread(written.path)
    assert data.BitsAllocated == 1
    frames = [encode(frame) for frame in data.pixel_array]
    data.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2) for frame in frames])
    data["PixelData"].is_undefined_length, data["PixelData"].VR = True, "OB"
    known = UID(syntax).is_transfer_syntax
    data.file_meta.TransferSyntaxUID = UID(syntax if known else STAND_IN[: len(syntax)].ljust(len(syntax), "1"))
    target = written.path.with_name("compressed.dcm")
    data.save_as(target, implicit_vr=False, little_endian=True)
    stand_in = str(data.file_meta.TransferSyntaxUID).encode()
    target.write_bytes(target.read_bytes().replace(stand_in, syntax.encode(), 1))
    return target


def rle(values: NDArray[np.uint8]) -> bytes:
    """One RLE segment behind its header, as PS3.5 G.5 has it."""
    return (b"\x01\0\0\0\x40\0\0\0").ljust(64, b"\0") + bytes(_encode_segment(values.tobytes(), values.shape[1]))


def packed(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.packbits(frame.ravel(), bitorder="little")[None]


def deflate(frame: NDArray[np.uint8]) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(packed(frame).tobytes()) + packer.flush()


@pytest.mark.parametrize("order", ["a byte of every pixel", "packed bits"])
def test_run_lengths_of_single_bits_are_decoded(written: Written, order: str) -> None:
    encode = rle if order.startswith("a byte") else lambda frame: rle(packed(frame))
    path = compress(written, encode, RLELossless)
    assert np.array_equal(read_seg(path, written.example.source).label_map(), written.example.labels)


def test_wavelets_of_single_bits_are_decoded(written: Written) -> None:
    openjpeg = pytest.importorskip("openjpeg.utils")
    path = compress(written, lambda frame: openjpeg.encode_array(frame, bits_stored=1), JPEG2000Lossless)
    assert np.array_equal(read_seg(path, written.example.source).label_map(), written.example.labels)


@pytest.mark.parametrize("lost", [1, 30])
def test_frames_of_another_length_are_damaged(written: Written, lost: int) -> None:
    path = compress(written, lambda frame: rle(frame[:-lost]), RLELossless)
    with pytest.raises(UnreadableFileError, match="frame 1 does not decode to 4757 pixels"):
        read_seg(path, written.example.source)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        (DEFLATED_FRAMES, "Deflated Image Frame Compression (1.2.840.10008.1.2.8.1)"),
        ("1.2.840.10008.1.2.4.112", "JPEG XL (1.2.840.10008.1.2.4.112)"),
        ("1.2.840.10008.1.2.1.98", "Encapsulated Uncompressed Explicit VR Little Endian (1.2.840.10008.1.2.1.98)"),
        ("1.2.840.113619.5.99", "1.2.840.113619.5.99"),
    ],
)
def test_what_no_decoder_reads_is_named_and_not_called_damaged(written: Written, syntax: str, name: str) -> None:
    from pydicom.pixels import get_decoder

    try:
        get_decoder(UID(syntax))
    except NotImplementedError:
        pass
    else:
        pytest.skip("this pydicom decodes it")
    path = compress(written, deflate, syntax)
    with pytest.raises(UnreadableFileError) as caught:
        read_seg(path, written.example.source)
    text = str(caught.value)
    assert text.startswith(f"{path}: transfer syntax {name} is not supported: neither pydicom ")
    assert "damaged" not in text and "fetch" not in text


def test_a_missing_plug_in_is_named(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels import get_decoder

    path = compress(written, lambda frame: b"\xff\x4f" + bytes(frame[0]), JPEG2000Lossless)
    monkeypatch.setattr(get_decoder(JPEG2000Lossless), "_available", {})
    with pytest.raises(UnreadableFileError, match="install one: pip install pylibjpeg pylibjpeg-openjpeg"):
        read_seg(path)
