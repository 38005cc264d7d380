"""What an image reader found odd, on the terminal of every command that reads one."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["print_image_warnings"]


def print_image_warnings(path: Path, lines: Iterable[str]) -> None:
    """Print warnings of a file on stderr, one line each.

    Args:
        path: the file, named in front of each.
        lines: what its reader gave, such as ``Image.info.warnings``.
    """
    for line in lines:
        print(f"warning: {path}: {line}", file=sys.stderr)
