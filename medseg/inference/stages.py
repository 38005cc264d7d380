"""Named stages of a run: their seconds are kept for the report, and a listener is told when each one begins."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

__all__ = ["StageListener", "Stages"]

_log = logging.getLogger(__name__)

StageListener = Callable[[str, str], object]
"""Called as ``listener(name, detail)`` when a stage begins; ``detail`` may be empty."""


class Stages:
    """The stages of one run. Nothing is printed here.

    Args:
        listener: is called with name and detail before the work of each stage starts.
        seconds: stages that are over already, with their wall time.

    >>> stages = Stages(lambda name, detail: print(f"now: {name} {detail}"))
    >>> with stages.stage("measure", "2 classes"):
    ...     pass
    now: measure 2 classes
    >>> list(stages.seconds)
    ['measure']
    """

    def __init__(self, listener: StageListener | None = None, seconds: Mapping[str, float] | None = None) -> None:
        self.listener = listener
        self.seconds: dict[str, float] = dict(seconds or {})

    @contextmanager
    def stage(self, name: str, detail: str = "") -> Iterator[None]:
        """Take the wall time of the block under ``name``."""
        if self.listener is not None:
            self.listener(name, detail)
        _log.info("stage: %s", name)
        start = time.perf_counter()
        self.seconds[name] = 0.0
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 3)
        _log.info("stage: %s took %.3f s", name, self.seconds[name])

    def copy(self) -> Stages:
        """The same stages so far, with the same listener; what is added to one is not added to the other."""
        return Stages(self.listener, self.seconds)
