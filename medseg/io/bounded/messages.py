"""Many lines that say the same of different things, as one line for people."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["sum_up"]

FEW = 2
"""So many lines of one kind are shown one by one."""

# What differs between lines of one kind: names in quotes, and words that hold a digit or a dot inside (numbers, files).
_DIFFERENT = re.compile(r"'[^']*'|\S*(?:[0-9]|\.\w)\S*")


def sum_up(lines: Iterable[str], in_full: str) -> list[str]:
    """Lines with those of one kind, from three on, put into the first of them with their number.

    Lines are of one kind if they differ only in numbers, in names of files and in what stands in quotes.

    Args:
        lines: one finding each.
        in_full: where all of them are written, such as ``out/ct.json``.

    Returns:
        At most two lines of every kind, in the order of their first appearance.

    Example:
        >>> from medseg.io.bounded.messages import sum_up
        >>> lines = [f"left out IM{n}: second slice at {n}.5 mm" for n in range(6)]
        >>> sum_up([*lines, "head CT"], "ct.json")
        ['left out IM0: second slice at 0.5 mm (and 5 more like it, all in ct.json)', 'head CT']
    """
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(_DIFFERENT.sub("#", line), []).append(line)
    shown = []
    for found in kinds.values():
        more = len(found) - 1
        shown += found if len(found) <= FEW else [f"{found[0]} (and {more} more like it, all in {in_full})"]
    return shown
