"""The frames of a DICOM SEG as arrays: stored as they are, or decoded by pydicom and its plug-ins."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.bounded.errors import DataError, UnreadableFileError
from medseg.io.ct.pixels import decoder_name, syntax_uid
from medseg.io.privacy.names import shown_reason

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["stored_frames"]

_IMPLICIT = "1.2.840.10008.1.2"
_RLE = "1.2.840.10008.1.2.5"


def stored_frames(data: Dataset, where: Path) -> Iterator[NDArray[Any]]:
    """Every frame ``[row, column]`` of a SEG with its stored values, one after the other.

    Args:
        data: the whole file; rows, columns and number of frames were checked before.
        where: the file, for errors.

    Raises:
        DataError: for other pixels than whole numbers of 1, 8 or 16 bits.
        UnreadableFileError: for pixel data that are cut off or damaged, and, with its name, for a transfer syntax that
            no decoder here reads.
    """
    syntax = str(data.file_meta.get("TransferSyntaxUID", "") or _IMPLICIT)
    bits = int(data.get("BitsAllocated", 0) or 0)
    if bits not in (1, 8, 16) or int(data.get("SamplesPerPixel", 1) or 1) != 1:
        raise DataError(f"{where}: BitsAllocated is {bits}, expected 1, 8 or 16 with one sample a pixel")
    decoder_name(syntax, where)
    uid = syntax_uid(syntax)
    if not uid.is_encapsulated:
        yield from _plain(data, bits, uid.is_little_endian, where)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield from _decoded_bits(data) if bits == 1 and syntax == _RLE else _decoded(data)
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableFileError(
            f"{where}: pixel data cannot be decoded ({shown_reason(error)}); fetch the file again"
        ) from None


def _plain(data: Dataset, bits: int, little_endian: bool, where: Path) -> Iterator[NDArray[Any]]:
    rows, columns, frames = int(data.Rows), int(data.Columns), int(data.get("NumberOfFrames", 1) or 1)
    stored = data.get("PixelData", b"") or b""
    expected = -(-frames * rows * columns * bits // 8)
    if len(stored) < expected:
        raise UnreadableFileError(f"{where}: {len(stored)} bytes of pixel data, expected {expected}; fetch it again")
    size = rows * columns
    raw = np.frombuffer(stored, dtype=np.uint8)
    dtype = np.dtype(np.uint8 if bits < 16 else ("<u2" if little_endian else ">u2"))
    for frame in range(frames):
        if bits > 1:
            yield np.frombuffer(stored, dtype, size, frame * size * dtype.itemsize).reshape(rows, columns)
            continue
        # Frames follow each other bit by bit: one may begin inside the last byte of the one before.
        first, last = frame * size, (frame + 1) * size
        unpacked = np.unpackbits(raw[first // 8 : -(-last // 8)], bitorder="little")
        yield unpacked[first % 8 : first % 8 + size].reshape(rows, columns)


def _decoded(data: Dataset) -> Iterator[NDArray[Any]]:
    from pydicom.pixels import iter_pixels

    yield from iter_pixels(data, raw=True)


def _decoded_bits(data: Dataset) -> Iterator[NDArray[Any]]:
    """Frames of one bit a pixel under RLE.

    The standard makes a byte of every pixel before it compresses (PS3.5 G.2); some programs compress the packed bits.
    The number of decoded bytes tells which. Neither is left to pydicom's own decoder, which refuses one bit a pixel.
    """
    from pydicom.encaps import generate_frames

    rows, columns, count = int(data.Rows), int(data.Columns), int(data.get("NumberOfFrames", 1) or 1)
    size, packed = rows * columns, -(-rows * columns // 8)
    found = 0
    for frame in generate_frames(data.PixelData, number_of_frames=count):
        values = _rle_bytes(frame, size)
        if values is None:
            bits = _rle_bytes(frame, packed)
            # A decoder cuts off what is too much (one byte may be padding): only the exact length may pass.
            if bits is None or _rle_bytes(frame, packed + 2) is not None:
                raise ValueError(f"frame {found + 1} does not decode to {size} pixels")
            values = np.unpackbits(bits, bitorder="little")[:size]
        yield values.reshape(rows, columns)
        found += 1
    if found < count:
        raise ValueError(f"{found} compressed frames, expected {count}")


def _rle_bytes(frame: bytes, size: int) -> NDArray[np.uint8] | None:
    """The first ``size`` decoded bytes of a frame, None if there are fewer."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import RLELossless

    try:
        values, _ = get_decoder(RLELossless).as_array(
            encapsulate([frame]),
            raw=True,
            decoding_plugin="pydicom",
            rows=1,
            columns=size,
            number_of_frames=1,
            samples_per_pixel=1,
            photometric_interpretation="MONOCHROME2",
            bits_allocated=8,
            bits_stored=8,
            pixel_representation=0,
            pixel_keyword="PixelData",
        )
    except RuntimeError:  # what pydicom raises where no decoder succeeds
        return None
    return values.ravel()
