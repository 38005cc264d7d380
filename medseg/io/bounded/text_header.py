"""Shared parts of the text headers of MetaImage and NRRD: limited lines, strict numbers, data files in one folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from medseg.io.bounded.errors import DataError

__all__ = ["data_file_beside", "number", "numbers", "read_header_lines", "whole_numbers"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_MAX_LINES = 100_000  # a list of short lines takes more memory than its bytes
_WHOLE = re.compile(r"[+-]?\d{1,18}")


def read_header_lines(path: Path, stream: BinaryIO, max_line: int, max_bytes: int, last: str | None) -> list[str]:
    """Lines of a text header, without line breaks, each at most ``max_line`` bytes.

    Args:
        path: what to name in errors.
        stream: binary file at its start; afterwards it is at the first byte behind the header.
        max_line: largest number of bytes of a line.
        max_bytes: largest number of bytes of the header.
        last: key of the line that ends the header; None if a blank line ends it (it is not returned).

    Raises:
        DataError: if the header does not end within the limits or holds a NUL byte.
    """
    lines: list[str] = []
    total = 0
    while True:
        raw = stream.readline(max_line + 1)
        total += len(raw)
        if len(raw) > max_line or total > max_bytes or len(lines) > _MAX_LINES:
            raise DataError(
                f"{path}: the text header does not end within {max_bytes} bytes; damaged or not such a file"
            )
        if b"\0" in raw:
            raise DataError(f"{path}: the text header holds a NUL byte; the file is damaged")
        line = raw.decode("utf-8", errors="replace").strip()
        if not raw or (last is None and not line):
            if last is not None:
                raise DataError(f"{path}: the text header ends without {last}; the file is cut off or damaged")
            return lines
        lines.append(line)
        if last is not None and line.partition("=")[0].strip() == last:
            return lines


def number(where: object, key: str, text: str) -> float:
    """One finite number in decimal notation.

    Raises:
        DataError: naming the key and the text found.
    """
    if len(text) > 40 or not _NUMBER.fullmatch(text):
        raise DataError(f"{where}: {key} holds {text[:40]!r}, expected a finite number")
    value = float(text)
    if abs(value) > 1e30:
        raise DataError(f"{where}: {key} holds {text!r}, expected a finite number")
    return value


def numbers(where: object, key: str, text: str, count: int) -> tuple[float, ...]:
    """Exactly ``count`` finite numbers, separated by spaces.

    Raises:
        DataError: for another count or anything that is not a number.
    """
    items = text.split()
    if len(items) != count:
        raise DataError(f"{where}: {key} holds {len(items)} values, expected {count} numbers")
    return tuple(number(where, key, item) for item in items)


def whole_numbers(where: object, key: str, text: str, count: int | None = None) -> tuple[int, ...]:
    """Whole numbers, separated by spaces: exactly ``count``, or at least one.

    Raises:
        DataError: for another count or anything that is not a whole number.
    """
    items = text.split()
    if not items or len(items) > 64 or (count is not None and len(items) != count):
        raise DataError(f"{where}: {key} holds {len(items)} values, expected {count or 'some'} whole number(s)")
    for item in items:
        if not _WHOLE.fullmatch(item):
            raise DataError(f"{where}: {key} holds {item[:40]!r}, expected a whole number")
    return tuple(int(item) for item in items)


def data_file_beside(header: Path, key: str, name: str) -> Path:
    """Path of the data file that a header names, which must be in the same folder as the header.

    Raises:
        DataError: for lists, patterns, paths to other folders, the header itself, or a file that does not exist.
    """
    elsewhere = any(character in name for character in "/\\\0") or name in (".", "..") or name[1:2] == ":"
    if not name or elsewhere or "%" in name or name.split()[0] in ("LIST", "LOCAL"):
        raise DataError(
            f"{header}: {key} is {name[:80]!r}, expected the plain name of one file in the same folder (no path, no "
            "list, no pattern)"
        )
    path = header.parent / name
    if path == header:
        raise DataError(f"{header}: {key} names the header itself, expected the file of the voxels")
    try:
        present = path.is_file()
    except OSError:  # e.g. a name longer than the file system allows
        present = False
    if not present:
        raise DataError(f"{header}: {key} names {name[:80]!r}, which is not in the same folder; fetch both files")
    return path
