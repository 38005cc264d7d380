"""Options ``--only`` and ``--skip``, and the verdict on items of a container that cannot be used."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._options.messages import print_warnings

if TYPE_CHECKING:
    from medseg.io.bounded.choice import ItemChoice

__all__ = ["SOME_REFUSED", "SOME_REFUSED_TEXT", "add_choice_options", "choice_from", "print_refused"]

SOME_REFUSED = 4
"""Exit code if some items were refused and the others written."""

SOME_REFUSED_TEXT = f", {SOME_REFUSED} some refused, the others written"
"""What an epilog says after ``EXIT_CODES``."""


def add_choice_options(parser: argparse.ArgumentParser, what: str, name: str) -> None:
    """Add ``--only`` and ``--skip`` to the parser of a command whose input holds several items.

    Args:
        parser: the parser.
        what: what the items are called, in the plural, such as ``structures``.
        name: how one is named, such as ``by name or number``.
    """
    for option, verb in (("--only", "take these"), ("--skip", "leave these out")):
        parser.add_argument(
            option,
            nargs="+",
            action="extend",
            default=[],
            metavar="NAME",
            help=f"{verb} {what} {'alone' if option == '--only' else ''}, {name}".replace(" ,", ","),
        )


def choice_from(args: argparse.Namespace) -> ItemChoice:
    """What the options of `add_choice_options` choose."""
    from medseg.io.bounded.choice import ItemChoice

    return ItemChoice(tuple(args.only), tuple(args.skip))


def print_refused(rows: Iterable[Mapping[str, Any]], in_full: str | Path) -> int:
    """Print ``refused: NAME: reason`` for every row and give the exit code: `SOME_REFUSED` if there is any, else 0."""
    lines = [f"{row['name']}: {row['reason']}" for row in rows]
    print_warnings(lines, in_full, "refused")
    return SOME_REFUSED if lines else 0
