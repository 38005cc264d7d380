"""The stages of a command as lines on the terminal: ``[2/5] run bundle``."""

from __future__ import annotations

import sys
from typing import TextIO

__all__ = ["StageLines"]


class StageLines:
    """Prints a numbered line when a stage begins: a listener for `medseg.inference.Stages`.

    Args:
        total: number of stages, for the count shown.
        quiet: show nothing.
        stream: where the lines go; standard error by default.
    """

    def __init__(self, total: int, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.total = total
        self.quiet = quiet
        self.stream = stream if stream is not None else sys.stderr
        self._begun = 0

    @property
    def interactive(self) -> bool:
        """True where a moving progress bar makes sense: a terminal, and not quiet."""
        return not self.quiet and self.stream.isatty()

    def __call__(self, name: str, detail: str = "") -> None:
        """Print the line of the next stage."""
        self._begun += 1
        self.say(f"[{self._begun}/{self.total}] {name}" + (f" {detail}" if detail else ""))

    def say(self, line: str) -> None:
        """Print one line unless quiet."""
        if not self.quiet:
            print(line, file=self.stream, flush=True)
