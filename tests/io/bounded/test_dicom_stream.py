"""Hostile and damaged DICOM headers: nothing is allocated or inflated beyond what the file can hold."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medseg.io.bounded.dicom_stream import DEFLATED, HEADER_BYTES, open_dicom
from medseg.io.bounded.errors import DataError
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_series
from tests.io._dicom_files import make_slice, positions, stored_pixels, write_series


def _deflated(path: Path, inflated_tail: bytes) -> None:
    """A deflated slice whose data set goes on with more bytes."""
    data = make_slice(stored_pixels(0), (0, 0, 0))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    raw = buffer.getvalue()
    end = 144 + int.from_bytes(raw[140:144], "little")
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = zlib.decompress(raw[end:], -15) + inflated_tail
    path.write_bytes(raw[:end] + packer.compress(body) + packer.flush())


def test_a_plain_file_is_given_as_it_is(tmp_path: Path) -> None:
    path = write_series(tmp_path, positions(1))[0]
    with open_dicom(path) as opened:
        assert opened.stream.read() == path.read_bytes()
        assert opened.size == path.stat().st_size
        assert not opened.deflated


def test_a_read_of_a_declared_length_gives_no_more_than_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(200))
    with open_dicom(path) as opened:
        opened.stream.seek(150)
        assert len(opened.stream.read(1 << 40)) == 50
        assert opened.stream.read(1 << 40) == b""


def test_a_deflated_bomb_is_cut_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.dcm"
    _deflated(path, bytes(60 << 20))
    assert path.stat().st_size < 1 << 20
    with open_dicom(path, 1 << 20) as opened:
        assert opened.deflated
        assert not opened.complete
        assert opened.size < (1 << 20) + 4096
    assert HEADER_BYTES <= 64 << 20


def test_a_deflated_bomb_does_not_stop_the_scan(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3))
    _deflated(tmp_path / "bomb.dcm", bytes(60 << 20))
    listing = list_series(tmp_path)
    assert sum(len(entry.headers) for entry in listing.series) + len(listing.unreadable) == 4


def test_a_deflated_file_without_a_stream_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.dcm"
    _deflated(path, b"")
    raw = path.read_bytes()
    end = 144 + int.from_bytes(raw[140:144], "little")
    path.write_bytes(raw[:end] + b"\xff" * 50)
    ((found, reason),) = list_series(tmp_path).unreadable
    assert found == path
    assert "cannot be inflated" in reason
    path.write_bytes(raw[:132] + raw[144:])  # the meta group without its length
    assert "has no length" in list_series(tmp_path).unreadable[0][1]


def test_a_uid_elsewhere_in_the_file_makes_it_no_deflated_one(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3), SeriesInstanceUID=DEFLATED)
    assert read_series(tmp_path).array.shape == (5, 6, 3)


_LIMITED = """
import resource, sys
sys.path.insert(0, {root!r})
import numpy, pydicom, pydicom.pixels
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_series
from medseg.io.bounded.errors import DataError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {extra}, used + {extra}))
for folder in sys.argv[1:]:
    print(folder, len(list_series(folder).unreadable))
    try:
        print(read_series(folder).array.shape)
    except DataError as error:
        print("refused:", error)
"""


def _under_limit(folders: list[Path], extra: int = 256 << 20) -> list[str]:
    root = str(Path(__file__).resolve().parents[3])
    code = _LIMITED.format(root=root, extra=extra)
    command = [sys.executable, "-c", code, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HH2s2xI", group, number, vr, size & 0xFFFFFFFF) + value


def test_headers_that_declare_gigabytes_allocate_nothing(tmp_path: Path) -> None:
    folders = []
    for name in ("sides", "text", "nested"):
        folder = tmp_path / name
        folders.append(folder)
        path = write_series(folder, positions(1), **({"Rows": 8000, "Columns": 8000} if name == "sides" else {}))[0]
        raw = path.read_bytes()
        if name == "text":  # a comment of 4 GB in a tag that is read
            raw = raw[:-72] + _element(0x0040, 0xA123, b"UT", b"x" * 40, 0xFFFFFF00) + raw[-72:]
        if name == "nested":  # sequences within sequences, 20,000 deep
            item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
            nest = struct.pack("<HH2s2xI", 0x5200, 0x9230, b"SQ", 0xFFFFFFFF) + item
            start = raw.index(struct.pack("<HH", 0x7FE0, 0x10))
            raw = raw[:start] + nest * 20000 + raw[start:]
        path.write_bytes(raw)
    lines = _under_limit(folders)
    assert len(lines) == 6
    assert all("refused" in line for line in lines[1::2])


def test_a_multi_frame_header_of_two_billion_frames(tmp_path: Path) -> None:
    write_series(tmp_path / "x", positions(2), NumberOfFrames=2_000_000_000)
    lines = _under_limit([tmp_path / "x"])
    assert "multi-frame image (2000000000 frames) without functional groups" in lines[1]


@pytest.mark.filterwarnings("error")
def test_mutated_series_end_in_a_listing_and_a_volume_or_one_line(tmp_path: Path) -> None:
    path = write_series(tmp_path, positions(4))[2]
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(40):
        raw = bytearray(whole)
        for place in rng.integers(0, len(whole) - 60, 4):
            raw[place] = rng.integers(256)
        path.write_bytes(bytes(raw[: rng.integers(len(raw) - 40, len(raw))]))
        list_series(tmp_path)
        try:
            read_series(tmp_path)
        except DataError as error:
            assert "\n" not in str(error)
