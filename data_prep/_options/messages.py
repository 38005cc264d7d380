"""How commands print what they found: one line each, many of one kind summed up."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from medseg.io.bounded.messages import sum_up

__all__ = ["print_warnings"]


def print_warnings(lines: Iterable[str], in_full: str | Path, word: str = "warning") -> None:
    """Print findings on stderr, ``warning: ...`` each, many of one kind as one line that says where all are.

    Args:
        lines: the findings; equal ones are printed once.
        in_full: what holds all of them: the file in which the command wrote them.
        word: what stands in front.
    """
    for line in sum_up(dict.fromkeys(lines), str(in_full)):
        print(f"{word}: {line}", file=sys.stderr)
