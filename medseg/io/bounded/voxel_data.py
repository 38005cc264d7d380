"""Stored voxels to arrays: exactly as many bytes as were declared and checked, raw or deflated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from medseg.io.bounded.deflate import DEFLATE_ERRORS, inflate_object
from medseg.io.bounded.errors import DataError, UnreadableFileError, os_reason

__all__ = [
    "GZIP",
    "ZLIB_OR_GZIP",
    "Inflater",
    "empty_volume",
    "in_native_order",
    "one_line",
    "plain_array",
    "read_deflated",
    "read_raw",
    "storable",
]

GZIP = 31
"""``wbits`` of zlib for gzip members, whose checksum is verified."""
ZLIB_OR_GZIP = 47
"""``wbits`` of zlib for a zlib stream or a gzip member; the first bytes decide which."""

_CHUNK = 256 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


class Inflater:
    """Reads a deflated stream piece by piece and decompresses only what is requested.

    Args:
        where: what to name in errors, usually the path.
        stream: binary file, at the first compressed byte.
        wbits: ``GZIP`` (several members in a row are one stream) or ``ZLIB_OR_GZIP`` (one stream).
    """

    def __init__(self, where: object, stream: BinaryIO, wbits: int = GZIP) -> None:
        self._where, self._stream, self._wbits = where, stream, wbits
        self._inflate = inflate_object(wbits)
        self._waiting = b""

    def readinto(self, target: NDArray[np.uint8]) -> int:
        """Fill a one-dimensional byte array and return the number of bytes (fewer only at the end of the stream).

        Raises:
            UnreadableFileError: if the stream is damaged, e.g. its checksum is wrong.
        """
        filled = 0
        while filled < target.size:
            piece = self._next(min(target.size - filled, 4 * _CHUNK))
            if piece is None:
                break
            target[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        return filled

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes; fewer only at the stream's end."""
        target = np.empty(count, np.uint8)
        return target[: self.readinto(target)].tobytes()

    def skip(self, count: int) -> None:
        """Skip ``count`` bytes, or what is left."""
        while count > 0 and (found := self.readinto(np.empty(min(count, _CHUNK), np.uint8))):
            count -= found

    def finish(self, slack: int = 0) -> None:
        """Check that the stream ends here with the right checksum, after at most ``slack`` more bytes.

        Raises:
            UnreadableFileError: if it is cut off, damaged or longer.
        """
        rest = np.empty(slack + 1, np.uint8)
        if self.readinto(rest) > slack:
            raise UnreadableFileError(
                f"{self._where}: the compressed stream holds more bytes than the header declares; header and voxels "
                "contradict each other"
            )
        if not self._inflate.eof:
            raise UnreadableFileError(f"{self._where}: voxel data cannot be read (no end); the file may be cut off")

    def _next(self, limit: int) -> bytes | None:
        """Some bytes (perhaps none yet), or None at the end."""
        if self._inflate.eof and not self._next_member():
            return None
        fed = self._waiting or self._stream.read(_CHUNK)
        try:
            piece = self._inflate.decompress(fed, limit)
        except DEFLATE_ERRORS as error:
            raise UnreadableFileError(
                f"{self._where}: voxel data cannot be read ({one_line(error)}); the compressed file is damaged"
            ) from error
        self._waiting = self._inflate.unconsumed_tail
        if not fed and not piece:
            return None  # the file ended before the stream did
        return piece

    def _next_member(self) -> bool:
        rest = self._inflate.unused_data or self._stream.read(_CHUNK)
        if self._wbits != GZIP:
            if rest:
                raise UnreadableFileError(f"{self._where}: bytes follow the end of the compressed voxels; damaged?")
            return False
        rest = rest.lstrip(b"\0")  # padding that tape writers append
        while not rest:
            chunk = self._stream.read(_CHUNK)
            if not chunk:
                return False
            rest = chunk.lstrip(b"\0")
        if not rest.startswith(_GZIP_MAGIC[: len(rest)]):
            raise UnreadableFileError(
                f"{self._where}: voxel data cannot be read (other bytes follow it); the compressed file is damaged"
            )
        self._inflate, self._waiting = inflate_object(self._wbits), rest
        return True


def empty_volume(where: object, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """An array for voxels whose first axis is the fastest, as all volume formats store them.

    Raises:
        DataError: if memory does not suffice.
    """
    try:
        return np.empty(tuple(shape), dtype=dtype, order="F")
    except MemoryError as error:
        raise DataError(f"{where}: {one_line(error)}; use a machine with more memory") from error


def bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The memory of a first-axis-fastest array as a flat byte array (a view)."""
    return array.reshape(-1, order="F").view(np.uint8)


def read_raw(path: Path, offset: int, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Read uncompressed voxels, first axis fastest, after the caller has compared their size with the file's.

    Args:
        path: the file.
        offset: first byte of the voxels.
        shape: lengths of all axes.
        dtype: stored type with its byte order; the result has the native order.

    Raises:
        UnreadableFileError: if the file ends early.
        DataError: if memory does not suffice.
    """
    array = empty_volume(path, shape, dtype)
    target = bytes_of(array)
    with path.open("rb", buffering=0) as stream:
        stream.seek(offset)
        filled = 0
        while filled < target.size:
            count = stream.readinto(target[filled : filled + 64 * _CHUNK].data)
            if not count:
                raise UnreadableFileError(f"{path}: voxel data cannot be read (it ends early); the file may be cut off")
            filled += count
    return in_native_order(array)


def read_deflated(
    path: Path, offset: int, stored: int, shape: Sequence[int], dtype: DTypeLike, wbits: int = ZLIB_OR_GZIP
) -> NDArray[Any]:
    """Read deflated voxels, first axis fastest; the stream must hold exactly as many as were declared.

    Args:
        path: the file.
        offset: first compressed byte.
        stored: compressed bytes that the file has, for the error.
        shape: lengths of all axes.
        dtype: stored type with its byte order; the result has the native order.
        wbits: ``GZIP`` or ``ZLIB_OR_GZIP``.

    Raises:
        UnreadableFileError: if the stream is cut off, damaged, too short or too long.
        DataError: if memory does not suffice.
    """
    with path.open("rb") as stream:
        stream.seek(offset)
        array = empty_volume(path, shape, dtype)
        target = bytes_of(array)
        inflater = Inflater(path, stream, wbits)
        found = inflater.readinto(target)
        if found < target.size:
            raise UnreadableFileError(
                f"{path}: voxel data cannot be read (the header declares {target.size} bytes of voxels, the {stored} "
                f"compressed bytes hold {found}); the file may be cut off"
            )
        inflater.finish()
    return in_native_order(array)


def in_native_order(array: NDArray[Any]) -> NDArray[Any]:
    """The same values in the machine's byte order, changed in place where needed."""
    if array.dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


def plain_array(values: Any) -> NDArray[Any]:
    """Voxels as a NumPy array: a tensor is taken from its device, and bfloat16, which NumPy does not have, is float32.

    Raises:
        ValueError: for lists of different lengths.
    """
    if hasattr(values, "detach"):  # a tensor, without importing torch
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
        return np.asarray(values.numpy())
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError("the array is a list of rows of different lengths, expected three axes of numbers") from None


def storable(array: ArrayLike) -> NDArray[Any]:
    """A 3-D array in a type that all programs read: bool becomes uint8, int64 int32, other floating types float32.

    Raises:
        ValueError: for other numbers of axes, an array without a voxel, types other than real numbers, or whole numbers
            that do not fit.
    """
    data = plain_array(array)
    if data.ndim != 3:
        raise ValueError(f"expected an array with three axes, got shape {data.shape}")
    if data.size == 0:
        raise ValueError(f"the array has shape {data.shape} and so no voxel; expected at least one along each axis")
    if data.dtype.kind not in "biuf":
        raise ValueError(f"voxels have type {data.dtype}, expected whole or real numbers")
    narrower = {"bool": np.uint8, "int64": np.int32, "uint64": np.uint32}
    floating = np.float32 if data.dtype.kind == "f" else data.dtype.newbyteorder("=")
    target = np.dtype(narrower.get(data.dtype.name, floating))
    if data.dtype.kind in "iu" and data.dtype.itemsize == 8 and data.size:
        low, high, range_ = int(data.min()), int(data.max()), np.iinfo(target)
        if low < range_.min or high > range_.max:
            raise ValueError(f"voxels hold {low} to {high}, which does not fit into {target}; convert them first")
    return data.astype(target, copy=False)


def one_line(error: BaseException) -> str:
    """An exception's text without line breaks, or its type where it has none; of a system's error the reason alone."""
    if isinstance(error, OSError) and error.errno:
        return os_reason(error)
    return " ".join(str(error).split()) or type(error).__name__
