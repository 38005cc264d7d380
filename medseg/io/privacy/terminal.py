"""A terminal on which the names of a command's inputs are hidden, for every command of the package."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from medseg.io.privacy.names import HiddenNames

__all__ = ["HINT", "add_show_names_option", "print_error", "private_terminal", "shows_names"]

HINT = " (names are hidden; --show-names shows them)"
"""Added to an error in which a name was hidden."""

_NOISY = ("pydicom", "highdicom", "nibabel")


def add_show_names_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--show-names`` to a parser."""
    parser.add_argument(
        "--show-names",
        action="store_true",
        help="show file names as they are on the terminal; by default those that could name a patient are counted "
        "instead (the environment variable MEDSEG_SHOW_NAMES=1 does the same)",
    )


def shows_names(args: argparse.Namespace) -> bool:
    """Whether the user wants file names on the terminal as they are."""
    return bool(getattr(args, "show_names", False)) or os.environ.get("MEDSEG_SHOW_NAMES", "") not in ("", "0")


@contextmanager
def private_terminal(names: HiddenNames, stdout: bool = True) -> Iterator[None]:
    """Let whatever is printed in the block lose the names; what libraries log or warn of is not printed at all.

    Libraries quote header values in their messages.

    Args:
        names: the names that are hidden.
        stdout: whether standard output is filtered too; not for JSON, which is private by what is put in.
    """
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    out, err = (cast(TextIO, _Screen(stream, names)) for stream in (sys.stdout, sys.stderr))
    with contextlib.ExitStack() as stack:
        if stdout:
            stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(warnings.catch_warnings())
        for name in _NOISY:
            warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def print_error(text: str, names: HiddenNames | None) -> None:
    """Print ``error: ...`` on stderr, without the names and with a hint if there were any.

    Args:
        text: one line.
        names: the names that are hidden; None shows all.
    """
    private = text if names is None else names.hide(text)
    hint = "" if private == text else HINT
    print(f"error: {private}{hint}", file=getattr(sys.stderr, "unfiltered", sys.stderr))  # once hidden is enough


class _Screen:
    """A text stream that hides private names before they are written."""

    def __init__(self, stream: TextIO, names: HiddenNames) -> None:
        self.unfiltered, self._names = stream, names

    def write(self, text: str) -> int:
        self.unfiltered.write(self._names.hide(text) if text.strip() else text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)
