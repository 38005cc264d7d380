"""CONTRIBUTING.md: the table "Where does this go?" names files that exist and hold what it says; its commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PLACEHOLDERS = ("NAME", "KIND")


class Row(NamedTuple):
    """A line of the table."""

    change: str
    file: str
    example: str
    beside: str


def rows() -> list[Row]:
    table = TEXT.split("## Where does this go?")[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return [Row(*row) for row in cells[2:]]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def is_path(name: str) -> bool:
    return "/" in name or name.endswith((".md", ".py", ".toml"))


def existing(name: str) -> Path:
    """The file or folder of a name; for a placeholder the folder in which the new file is to be made."""
    parts = name.split("/")
    place = next((i for i, part in enumerate(parts) if any(word in part for word in PLACEHOLDERS)), len(parts))
    return ROOT.joinpath(*parts[:place])


def test_the_table_has_at_least_ten_changes() -> None:
    assert len(rows()) >= 10
    assert len({row.change for row in rows()}) == len(rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.change)
def test_the_files_of_a_change_exist_and_hold_what_the_table_says(row: Row) -> None:
    files, examples = names_in(row.file), names_in(row.example)
    assert files and examples
    for name in [*files, *examples, *names_in(row.beside)]:
        if is_path(name):
            assert existing(name).exists(), name
    for name in examples:
        if not is_path(name):
            assert re.search(rf"\b{name}\b", (ROOT / files[0]).read_text(encoding="utf-8")), f"{files[0]} has no {name}"


@pytest.mark.parametrize("row", [row for row in rows() if "NAME" in row.file], ids=lambda row: row.change)
def test_the_example_of_a_new_file_lies_where_the_new_file_goes(row: Row) -> None:
    pattern = names_in(row.file)[0].replace("KIND", "NAME").replace("NAME", "[^/]+")
    assert re.fullmatch(pattern, names_in(row.example)[0])


def test_the_make_targets_exist() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r"`make ([\w-]+)", TEXT))
    assert named and named <= set(targets)


def test_every_room_stands_in_the_plan() -> None:
    plan = TEXT.split("## The plan of the house")[1].split("##")[0]
    rooms = [path.parent.name for path in (ROOT / "medseg").glob("*/__init__.py")]
    assert [room for room in [*rooms, "csrc"] if f"`{room}`" not in plan] == []
    for folder in ("io", "networks"):
        parts = [path.parent.name for path in (ROOT / "medseg" / folder).glob("*/__init__.py")]
        assert [part for part in parts if f"`{part}`" not in plan] == []
