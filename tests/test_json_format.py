"""The JSON formatter, and that every JSON file of the repository went through it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORMATTER = ROOT / ".ci" / "format_json.py"
FILES = sorted(path for folder in ("bundles", "examples", "tests/data") for path in (ROOT / folder).rglob("*.json"))
LONG = ("x" * 70, "y" * 70)
UNTIDY = '{"b":[1,2],\n\n"a":{"long":["' + '","'.join(LONG) + '"]}}'
TIDY = f"""{{
    "b": [1, 2],
    "a": {{
        "long": [
            "{LONG[0]}",
            "{LONG[1]}"
        ]
    }}
}}
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FORMATTER), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_json_file_is_formatted() -> None:
    written_by_runs = {"models", "eval"}
    files = [path for path in FILES if not written_by_runs & set(path.relative_to(ROOT).parts)]
    assert len(files) >= 9
    done = run("--check", *files)
    assert (done.returncode, done.stdout) == (0, "")


def test_short_items_stay_on_a_line_and_long_ones_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(UNTIDY)
    assert run(path).returncode == 0
    assert path.read_text() == TIDY
    assert max(map(len, TIDY.splitlines())) <= 120


def test_content_and_order_of_keys_are_kept(tmp_path: Path) -> None:
    value = {"z": None, "a": [True, 1.5, "ä", {}, []], "m": {"k": {"deep": list(range(60))}}}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value))
    run(path)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert list(json.loads(text)) == ["z", "a", "m"]
    assert "ä" in text


def test_formatting_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(TIDY)
    run(path)
    assert path.read_text() == TIDY
    assert run("--check", path).returncode == 0


def test_the_check_names_untidy_files_and_leaves_them_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(UNTIDY)
    done = run("--check", path)
    assert done.returncode == 1
    assert done.stdout == f"not formatted: {path}; run python .ci/format_json.py on them\n"
    assert path.read_text() == UNTIDY


@pytest.mark.parametrize("text", ['{"a": 1,}', "", "{'a': 1}"])
def test_what_is_no_json_fails(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert run(path).returncode != 0
    assert path.read_text() == text
