"""Compressed streams: zlib's own bytes and errors, whichever library computes them, and files that say nothing else."""

from __future__ import annotations

import gzip
import importlib
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import medseg.io.bounded.deflate as deflate

CONTENT = np.random.default_rng(0).integers(0, 9, 100_000).astype(np.uint8).tobytes()


@pytest.fixture(params=["ISA-L", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    if request.param == "ISA-L":
        pytest.importorskip("isal", reason="no wheel of isal for this processor")
        yield deflate
        return
    monkeypatch.setitem(sys.modules, "isal", None)
    yield importlib.reload(deflate)
    monkeypatch.undo()
    importlib.reload(deflate)


def test_the_stated_library_is_in_use(library: ModuleType, request: pytest.FixtureRequest) -> None:
    uses_zlib = type(library.inflate_object(31)).__module__ == "zlib"
    assert uses_zlib == ("zlib" in request.node.name)


@pytest.mark.parametrize("wbits", [15, 31])
def test_streams_are_read_piece_by_piece(library: ModuleType, wbits: int) -> None:
    inflate, waiting, pieces = library.inflate_object(47), zlib.compress(CONTENT, 6, wbits) + b"more", []
    while not inflate.eof:
        pieces.append(inflate.decompress(waiting, 777))
        assert len(pieces[-1]) <= 777
        waiting = inflate.unconsumed_tail
    assert b"".join(pieces) == CONTENT
    assert inflate.unused_data == b"more"


@pytest.mark.parametrize("place", [5, 20_000, -6, -2])
def test_damage_is_an_error_that_is_named(library: ModuleType, place: int) -> None:
    stored = bytearray(gzip.compress(CONTENT))
    stored[place] ^= 0xFF
    if place == 5:  # the time in the header is not checked
        assert library.inflate_object(31).decompress(bytes(stored)) == CONTENT
        return
    with pytest.raises(library.DEFLATE_ERRORS):
        library.inflate_object(31).decompress(bytes(stored))


def test_written_files_hold_the_content_and_neither_name_nor_time(library: ModuleType, tmp_path: Path) -> None:
    for name in ("patient_one.gz", "other.gz"):
        with library.gzip_writer(tmp_path / name) as stream:
            stream.write(CONTENT[:50_000])
            stream.write(CONTENT[50_000:])
    first, second = ((tmp_path / name).read_bytes() for name in ("patient_one.gz", "other.gz"))
    assert first == second
    assert gzip.decompress(first) == CONTENT
    assert first[3:8] == bytes(5)  # no optional field, time 0
