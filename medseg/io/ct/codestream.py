"""The image size in a JPEG, JPEG-LS or JPEG 2000 stream, read before a decoder allocates memory for it."""

from __future__ import annotations

__all__ = ["check_codestream", "codestream_size"]

_START_OF_FRAME = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_STAND_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_2000 = b"\xff\x4f\xff\x51"


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components of a compressed frame, or None if it is neither JPEG, JPEG-LS nor JPEG 2000.

    Sources: ITU-T T.81 B.2.2 (frame header), T.87 C.2.2 (JPEG-LS), T.800 A.5.1 (SIZ marker).

    Raises:
        ValueError: if the stream begins like one of them but does not contain a size.
    """
    if frame[:2] == b"\xff\xd8":
        return _jpeg_size(frame)
    start = frame.find(_JPEG_2000, 0, 4096)
    if start == 0 or (start > 0 and frame[4:8] == b"jP  "):
        return _jpeg_2000_size(frame[start + 4 : start + 42])
    return None


def check_codestream(frame: bytes, rows: int, columns: int) -> None:
    """Refuse a compressed frame whose own size differs from the size in the header.

    Raises:
        ValueError: naming both sizes.
    """
    size = codestream_size(frame)
    if size is not None and size != (rows, columns, 1):
        raise ValueError(
            f"the compressed image is {size[0]} x {size[1]} with {size[2]} component(s), but the header says {rows} x "
            f"{columns} with 1"
        )


def _jpeg_size(frame: bytes) -> tuple[int, int, int]:
    place = 2
    while place + 4 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in _STAND_ALONE:
            place += 2
        elif marker in _START_OF_FRAME and place + 10 <= len(frame):
            field = frame[place + 4 : place + 10]  # precision, rows, columns, components
            return int.from_bytes(field[1:3], "big"), int.from_bytes(field[3:5], "big"), field[5]
        else:
            place += 2 + max(2, int.from_bytes(frame[place + 2 : place + 4], "big"))
    raise ValueError("the JPEG stream holds no frame header")


def _jpeg_2000_size(segment: bytes) -> tuple[int, int, int]:
    if len(segment) < 38:
        raise ValueError("the JPEG 2000 stream ends within its size marker")
    right, bottom, left, top = (int.from_bytes(segment[i : i + 4], "big") for i in (4, 8, 12, 16))
    if bottom <= top or right <= left:
        raise ValueError("the JPEG 2000 stream holds a size marker whose image ends before it begins")
    return bottom - top, right - left, int.from_bytes(segment[36:38], "big")
