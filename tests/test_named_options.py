"""Every option that a message names can be given to the command that prints the message."""

from __future__ import annotations

import argparse
import importlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from medseg.io.bounded.remedies import fit_remedies
from tests._call_graph import CallGraph, Text

ROOT = Path(__file__).resolve().parents[1]
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]*")
_OTHER = re.compile(r"(data_prep\.\w+|medseg \w+|monai\.bundle|pip install|git)[^;]*$")


# The graph does not know values: dataset writes series, but never under a key.
_NOT_PRINTED = {("data_prep.dataset", "PatientID is empty")}


class Command(NamedTuple):
    """A command: its functions, its options, what it calls options of readers, and whose options it passes on."""

    roots: tuple[str, ...]
    options: frozenset[str]
    renamed: dict[str, str]


@cache
def commands() -> dict[str, Command]:
    """All commands of the package by name."""
    found = {}
    for path in sorted((ROOT / "data_prep").glob("[a-z]*.py")):
        if "def _parser()" in path.read_text(encoding="utf-8"):
            module = f"data_prep.{path.stem}"
            parser = importlib.import_module(module)._parser()
            found[module] = Command((f"{module}.main",), parser.options(), parser.renamed)
    # Options after "--" are given to the command of every case.
    cohort = found["data_prep.cohort"]
    passed_on = found["data_prep.convert"].options | found["data_prep.lidc"].options
    cases = ("data_prep.convert.main", "data_prep.lidc.main")
    found["data_prep.cohort"] = cohort._replace(roots=(*cohort.roots, *cases), options=cohort.options | passed_on)
    from medseg.apps.cli import build_parser

    (subparsers,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, parser in subparsers.choices.items():
        run = parser.get_default("run")
        roots = (f"{run.__module__}.{run.__name__}", "medseg.apps.failures.explain")
        found[f"medseg {name}"] = Command(roots, frozenset(parser._option_string_actions), {})
    from medseg.datasets.phantom.__main__ import build_parser as phantom_parser

    options = frozenset(phantom_parser()._option_string_actions)
    found["medseg.datasets.phantom"] = Command(("medseg.datasets.phantom.__main__.main",), options, {})
    return found


@cache
def graph() -> CallGraph:
    """The sources of both packages."""
    return CallGraph(ROOT, "medseg", "data_prep")


def named_options(text: str, command: Command) -> list[tuple[str, str]]:
    """Options in a message as the command prints it, each with the command that the message names for it, or ""."""
    fitted = fit_remedies(text, command.options, command.renamed)
    found = []
    for option in _OPTION.finditer(fitted):
        other = _OTHER.search(fitted[: option.start()])
        found.append((option[0], other[1] if other else ""))
    return found


def unknown_options(text: Text, command: Command) -> list[str]:
    """Options of a message that neither this command nor the one named before them has."""
    if _OPTION.fullmatch(text.value.strip()):  # a word of a command line, no message
        return []
    unknown = []
    for option, other in named_options(text.value, command):
        owner = commands().get(other)
        allowed = command.options if owner is None else owner.options | command.options
        if option not in allowed and other not in ("monai.bundle", "pip install", "git"):
            unknown.append(f"{text.place}: {option} in {text.value!r}")
    return unknown


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_named_in_a_message_is_one_of_the_command_that_prints_it(name: str) -> None:
    command = commands()[name]
    texts = graph().texts(*command.roots)
    assert len(texts) > 10
    texts = [text for text in texts if not any(n == name and words in text.value for n, words in _NOT_PRINTED)]
    unknown = [line for text in texts for line in unknown_options(text, command)]
    assert unknown == []


def test_the_messages_that_the_readers_share_are_among_them() -> None:
    """Else the test above would pass because it finds nothing."""
    for name in ("data_prep.lidc", "data_prep.cohort", "data_prep.dataset", "data_prep.check", "medseg segment"):
        values = " ".join(text.value for text in graph().texts(*commands()[name].roots))
        for words in ("straighten the slices with --on-tilt shear", "choose one with --series UID", "--part N"):
            assert words in values, name


def test_a_command_without_the_option_would_be_found() -> None:
    text = Text("straighten the slices with --on-tilt shear; add --overwrite", "x.py:1")
    lacking = Command((), frozenset({"--out"}), {})
    assert unknown_options(text, lacking) == [f"x.py:1: --overwrite in {text.value!r}"]
    assert unknown_options(text, lacking._replace(options=frozenset({"--overwrite"}))) == []
