"""Named stages of a run: one line on the terminal for each, their seconds kept for the report."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["Stages"]

_log = logging.getLogger(__name__)


class Stages:
    """Announces stages as ``[2/5] name`` and keeps the wall time of each.

    Args:
        total: number of stages, for the count shown.
        quiet: show nothing; times are still kept.
        stream: where the lines go; standard error by default.
    """

    def __init__(self, total: int, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.total = total
        self.quiet = quiet
        self.stream = stream if stream is not None else sys.stderr
        self.seconds: dict[str, float] = {}

    @property
    def interactive(self) -> bool:
        """True where a moving progress bar makes sense: a terminal, and not quiet."""
        return not self.quiet and self.stream.isatty()

    @contextmanager
    def stage(self, name: str, detail: str = "") -> Iterator[None]:
        """Time the block under ``name``; the line, with ``detail``, is printed before the work starts."""
        self.say(f"[{len(self.seconds) + 1}/{self.total}] {name}" + (f" {detail}" if detail else ""))
        _log.info("stage: %s", name)
        start = time.perf_counter()
        self.seconds[name] = 0.0
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 3)
        _log.info("stage: %s took %.3f s", name, self.seconds[name])

    def say(self, line: str) -> None:
        """Print one line unless quiet."""
        if not self.quiet:
            print(line, file=self.stream, flush=True)
