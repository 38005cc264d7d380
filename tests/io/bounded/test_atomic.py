"""Atomic writes: the old file or the whole new one, nothing in between and nothing left over."""

from __future__ import annotations

import ast
import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest

import medseg
from medseg.io.bounded.atomic import atomic_path, json_text, write_json, write_text


def test_the_target_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("a longer older text")
    write_text(tmp_path / "note.txt", "new")
    assert (tmp_path / "note.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["mask.nii.gz", "model.pt", "picture.png"])
def test_the_temporary_name_keeps_the_full_suffix(tmp_path: Path, name: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.name.endswith(name)
        assert temporary.name != name


def test_an_error_keeps_the_old_file_and_removes_the_new(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stopped"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stopped")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert write_text(tmp_path / "a" / "b" / "note.txt", "grüße") == tmp_path / "a" / "b" / "note.txt"
    assert (tmp_path / "a" / "b" / "note.txt").read_bytes() == "grüße".encode()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_get_the_permissions_that_the_umask_grants(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "note.txt", "x")
    finally:
        assert os.umask(before) == mask
    assert stat.S_IMODE((tmp_path / "note.txt").stat().st_mode) == mode


def test_json_is_indented_and_reads_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None], "b": "é"}
    text = write_json(tmp_path / "v.json", value).read_text()
    assert json.loads(text) == value
    assert text.startswith('{\n  "a"')
    assert text.endswith("}\n")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_is_not_a_json_number_is_written_as_null_at_every_depth(tmp_path: Path, number: float) -> None:
    value = {"loss": number, "list": [1.5, (number, "NaN")], "inner": {"a": {"b": number}}, "zero": 0.0}
    text = write_json(tmp_path / "v.json", value).read_text()
    strict = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert strict == {"loss": None, "list": [1.5, [None, "NaN"]], "inner": {"a": {"b": None}}, "zero": 0.0}


def test_the_value_itself_is_left_as_it_is() -> None:
    value = {"loss": [math.nan]}
    assert json_text(value, indent=None, sort_keys=True) == '{"loss": [null]}'
    assert math.isnan(value["loss"][0])


def test_what_json_cannot_hold_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_json(tmp_path / "v.json", 1)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "v.json", {"a": object()})
    assert json.loads((tmp_path / "v.json").read_text()) == 1


def makes_json(path: Path) -> bool:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return any(ast.unparse(call) in ("json.dump", "json.dumps") for call in calls)


def test_json_is_made_in_one_place_only() -> None:
    """Every other call of json.dumps could write NaN, which is not JSON, or fail on it."""
    root = Path(medseg.__file__).resolve().parents[1]
    paths = [path for room in ("medseg", "data_prep", "benchmarks") for path in (root / room).rglob("*.py")]
    assert [str(path.relative_to(root)) for path in paths if makes_json(path)] == ["medseg/io/bounded/atomic.py"]
