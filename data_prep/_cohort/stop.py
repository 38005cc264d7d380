"""Signals that ask a run to stop; the run looks for them between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["RunInterruptedError", "StopSignal"]


class RunInterruptedError(Exception):
    """A signal asked the run to stop; what was finished is kept."""


class StopSignal:
    """Notes SIGINT and SIGTERM while it is entered, so that a run stops between two steps and not within one."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def check(self) -> None:
        """Raise `RunInterruptedError` if a signal has come."""
        if self.received is not None:
            raise RunInterruptedError(self.received.name)

    @contextmanager
    def watching(self) -> Iterator[StopSignal]:
        """Watch for signals during the block; a second signal has its usual effect."""
        numbers: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread():
            numbers = ()  # Python lets the main thread alone set handlers
        previous = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
