"""What all command lines share: which paths are inputs and outputs, and how they are called in messages."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest

from data_prep._options.command_line import OneLineParser, UsageError, input_names, output_path, run_command

COMMANDS = sorted(path.stem for path in Path("data_prep").glob("*.py") if path.stem != "__init__")

WRITTEN = {"--out", "--out-data", "--preprocessed", "--index", "--link", "output"}
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
