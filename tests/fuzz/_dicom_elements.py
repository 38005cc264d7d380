"""DICOM files taken apart into their elements' bytes and put together again, so that a value can be anything."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["Element", "join", "split"]

_LONG = (b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN", b"OD", b"UC", b"UR")
_META = 132


class Element(NamedTuple):
    """One element of an explicit little-endian file.

    Attributes:
        group: group number.
        number: element number.
        vr: two letters.
        value: the bytes.
    """

    group: int
    number: int
    vr: bytes
    value: bytes


def split(content: bytes) -> list[Element]:
    """Elements of a file in explicit little endian with defined lengths, its meta group included."""
    found, place = [], _META
    while place < len(content):
        group, number = struct.unpack_from("<HH", content, place)
        vr = content[place + 4 : place + 6]
        place += 12 if vr in _LONG else 8
        (size,) = struct.unpack_from("<I" if vr in _LONG else "<H", content, place - (4 if vr in _LONG else 2))
        found.append(Element(group, number, vr, content[place : place + size]))
        place += size
    return found


def join(elements: list[Element]) -> bytes:
    """The file of such elements, in their order; values of odd length are padded."""
    parts = [bytes(128), b"DICM"]
    for group, number, vr, value in elements:
        padded = value + b" " * (len(value) % 2)
        long_form = vr in _LONG
        length = struct.pack("<HI", 0, len(padded)) if long_form else struct.pack("<H", len(padded))
        parts += [struct.pack("<HH", group, number), vr, length, padded]
    return b"".join(parts)
