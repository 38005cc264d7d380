"""SEG and RTSTRUCT files with damaged bytes are read or refused in one line: no other error, and no hang."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medseg.io.bounded.errors import DataError
from medseg.io.results.rtstruct_read import read_rtstruct
from medseg.io.results.rtstruct_write import write_rtstruct
from medseg.io.results.seg_read import read_seg
from medseg.io.results.seg_write import write_seg
from tests.io._clinical import make_example
from tests.io._refused_access import refuse_access


def damaged(contents: bytes, seed: int) -> bytes:
    """One to four bytes changed somewhere after the preamble, or the end cut off."""
    draw = np.random.default_rng(seed)
    data = bytearray(contents)
    if seed % 8 == 0:
        return bytes(data[: int(draw.integers(132, len(data)))])
    for _ in range(int(draw.integers(1, 5))):
        data[int(draw.integers(132, len(data)))] = int(draw.integers(256))
    return bytes(data)


@pytest.mark.parametrize("name", ["seg", "rtstruct"])
def test_damaged_bytes_are_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    example = make_example(tmp_path / "ct")
    arguments = (example.labels, example.affine_ras, example.source, {1: "liver", 2: "lung"})
    read: Callable[[Path], object]
    if name == "seg":
        write_seg(tmp_path / "whole.dcm", *arguments)
        read = read_seg
    else:
        write_rtstruct(tmp_path / "whole.dcm", *arguments)
        read = lambda path: read_rtstruct(path, example.source)  # noqa: E731
    contents = (tmp_path / "whole.dcm").read_bytes()
    path = tmp_path / "damaged.dcm"
    outcomes = set()
    for seed in range(120):
        path.write_bytes(damaged(contents, seed))
        try:
            read(path)
            outcomes.add("read")
        except DataError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = make_example(tmp_path / "ct")
    write = write_seg if kind == "seg" else write_rtstruct
    write(tmp_path / "a.dcm", example.labels, example.affine_ras, example.source, {1: "liver", 2: "lung"})
    refuse_access(monkeypatch, tmp_path / "a.dcm")
    with pytest.raises(DataError) as caught:
        read_seg(tmp_path / "a.dcm") if kind == "seg" else read_rtstruct(tmp_path / "a.dcm", example.source)
    assert str(caught.value) == (
        f"{tmp_path / 'a.dcm'}: permission denied; ask its owner for access, or choose another place"
    )
