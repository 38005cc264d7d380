"""DICOM files as byte streams that never allocate more than the file holds, and limit how much is inflated."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

__all__ = ["DEFLATED", "HEADER_BYTES", "DicomStream", "open_dicom"]

DEFLATED = "1.2.840.10008.1.2.1.99"
"""Transfer syntax whose data set is one deflate stream."""

HEADER_BYTES = 16 << 20
"""Largest number of bytes that a deflated header may inflate to."""

_EXPLICIT = b"1.2.840.10008.1.2.1\0\0\0"
_META_BYTES = 1 << 16


class DicomStream(NamedTuple):
    """An open DICOM file.

    Attributes:
        stream: seekable bytes; a deflated data set is inflated and marked as explicit little endian.
        size: bytes in the stream.
        deflated: whether the file's own transfer syntax is the deflated one.
        complete: False where the inflated data set was cut at the limit.
    """

    stream: BinaryIO
    size: int
    deflated: bool = False
    complete: bool = True


class _Bounded(io.BufferedReader):
    """A file whose reads never exceed what is left of it: a wrong declared length cannot allocate memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > _META_BYTES:
            left = max(0, self.size - self.tell())
            size = left if size is None or size < 0 else min(size, left)
        return super().read(size)


@contextmanager
def open_dicom(path: Path, inflated_bytes: int = HEADER_BYTES) -> Iterator[DicomStream]:
    """Open a DICOM file for pydicom.

    Args:
        path: the file.
        inflated_bytes: largest number of bytes that a deflated data set may inflate to; the rest is cut off.

    Raises:
        ValueError: if the file says that it is deflated, but has no valid file meta group or no deflate stream.
        OSError: if it cannot be opened.
    """
    with _Bounded(path) as stream:
        start = stream.read(_META_BYTES)
        stream.seek(0)
        meta = _deflated_meta(start)
        if meta is None:
            yield DicomStream(cast(BinaryIO, stream), stream.size)
            return
        stream.seek(len(meta))
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(stream.read(), inflated_bytes)
        except zlib.error as error:
            raise ValueError(f"the deflated data set cannot be inflated ({error})") from None
    whole = meta.replace(DEFLATED.encode(), _EXPLICIT) + data
    yield DicomStream(io.BytesIO(whole), len(whole), True, not inflater.unconsumed_tail)


def _deflated_meta(start: bytes) -> bytes | None:
    """Preamble and file meta group of a deflated file, or None for any other file."""
    if start[128:132] != b"DICM" or DEFLATED.encode() not in start[:_META_BYTES]:
        return None
    if start[132:140] != b"\x02\0\0\0UL\x04\0":
        raise ValueError("the file meta group has no length, as a deflated file must have")
    end = 144 + int.from_bytes(start[140:144], "little")
    if end > len(start):
        raise ValueError(f"the file meta group claims {end - 144} bytes, expected fewer than {_META_BYTES}")
    meta = start[:end]
    return meta if DEFLATED.encode() in meta else None
