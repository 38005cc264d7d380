"""What all command lines share: which paths are inputs and outputs, and how they are called in messages."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from data_prep._options.command_line import OneLineParser, UsageError, input_names, new_folder, output_path, run_command

COMMANDS = sorted(path.stem for path in Path("data_prep").glob("*.py") if path.stem != "__init__")

WRITTEN = {"--out", "--out-data", "--preprocessed", "--index", "--instances", "--link", "output"}
"""Names of arguments that are written; every other path is read."""


def parser_of(command: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = importlib.import_module(f"data_prep.{command}")._parser()
    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_every_path_of_a_command_is_declared_as_an_input_or_an_output(command: str) -> None:
    for action in parser_of(command)._actions:
        names = {*action.option_strings, action.dest}
        if action.type in (Path, output_path):
            assert (action.type is output_path) == bool(names & WRITTEN), names
        elif isinstance(action.metavar, str) and action.option_strings:
            assert action.metavar not in ("FILE", "DIR", "JSON") or action.dest == "weights", names


def test_paths_get_words_by_which_a_reader_finds_them_on_the_command_line() -> None:
    parser = OneLineParser()
    parser.add_argument("source", metavar="IN", type=Path)
    parser.add_argument("--mask", nargs="+", type=Path)
    parser.add_argument("--pair", nargs=2, type=Path, action="append", metavar=("IMAGE", "LABEL"))
    parser.add_argument("--out", type=output_path)
    args = parser.parse_args(["a", "--mask", "b", "c", "--pair", "d", "e", "--pair", "f", "g", "--out", "h"])
    assert {word: str(path) for word, path in args.named_paths.inputs.items()} == {
        "IN": "a",
        "MASK 1": "b",
        "MASK 2": "c",
        "PAIR 1 IMAGE": "d",
        "PAIR 1 LABEL": "e",
        "PAIR 2 IMAGE": "f",
        "PAIR 2 LABEL": "g",
    }
    assert args.named_paths.outputs == (Path("h"),)


@pytest.fixture
def args(tmp_path: Path) -> argparse.Namespace:
    """A command line whose input and output have the same last part."""
    (tmp_path / "in" / "SMITH").mkdir(parents=True)
    (tmp_path / "in" / "SMITH" / "JOHN.dcm").write_text("x")
    parser = OneLineParser()
    parser.add_argument("input", metavar="IN", type=Path)
    parser.add_argument("--out", type=output_path)
    found: argparse.Namespace = parser.parse_args([str(tmp_path / "in/SMITH"), "--out", str(tmp_path / "out/SMITH")])
    return found


def test_the_terminal_shows_the_output_as_typed_and_hides_the_input(
    args: argparse.Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(lambda: print(f"{args.out}: made of {args.input / 'JOHN.dcm'}"), args) == 0
    assert capsys.readouterr().out == f"{args.out}: made of file 1 of 1\n"

    def fail() -> None:
        raise UsageError(f"{args.input} and {args.out} are one")

    assert run_command(fail, args) == 2
    assert capsys.readouterr().err.startswith(f"error: <IN> and {args.out} are one (names are hidden")


def test_files_get_no_name_of_an_input_even_if_an_output_has_it(args: argparse.Namespace) -> None:
    assert "SMITH" not in input_names(args).hide(f"{args.out}, {args.input}, SMITH")


def failing(args: argparse.Namespace, error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    def fail() -> None:
        raise error

    code = run_command(fail, args)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "the file system is read-only"),
        (errno.ENOSPC, "the disk is full"),
    ],
)
def test_errors_of_the_system_are_one_line_in_words(
    args: argparse.Namespace, capsys: pytest.CaptureFixture[str], number: int, says: str
) -> None:
    code, text = failing(args, OSError(number, os.strerror(number), str(args.input / "JOHN.dcm")), capsys)
    assert code == 1
    assert text.startswith(f"error: file 1 of 1: {says}; ")
    assert "Errno" not in text
    assert text.count("\n") == 1


def test_a_lack_of_memory_is_one_line_that_says_what_helps(
    args: argparse.Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(args, MemoryError(), capsys) == (
        1,
        "error: out of memory; close other programs, or use a machine with more of it\n",
    )


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "overwrite"])
def test_a_second_writer_of_the_same_folder_is_told_and_spoils_nothing(
    args: argparse.Namespace, capsys: pytest.CaptureFixture[str], earlier: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = args.out
    if earlier:
        out.mkdir(parents=True)
        (out / "marker.json").write_text("earlier")
    replace = os.replace

    def race(source: Any, target: Any) -> None:
        """Just before the finished folder moves to its place, another program fills the place."""
        if Path(target) == out and Path(source).name.startswith(".tmp-"):
            out.mkdir(parents=True, exist_ok=True)
            (out / "marker.json").write_text("other")
        replace(source, target)

    def write() -> None:
        with new_folder(out, True, "marker.json") as folder:
            (folder / "marker.json").write_text("own")

    monkeypatch.setattr(os, "replace", race)
    assert run_command(write, args) == 1
    text = capsys.readouterr().err
    assert text.startswith(f"error: {out}: another program wrote there while this one ran; ")
    assert text.count("\n") == 1
    assert (out / "marker.json").read_text() == "other"
    kept = [path for path in out.parent.iterdir() if path != out]
    assert [path.read_text() for folder in kept for path in folder.iterdir()] == (["earlier"] if earlier else [])
    assert not earlier or kept[0].name in text


def test_a_place_that_cannot_be_written_to_is_named_as_it_was_typed(
    args: argparse.Namespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(args.out.parent / ".tmp-1-SMITH"))

    def write() -> None:
        with new_folder(args.out, False, "marker.json"):
            raise AssertionError("never entered")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert run_command(write, args) == 1
    assert capsys.readouterr().err.startswith(f"error: {args.out}: the file system is read-only; choose another")
