"""A request to stop (SIGTERM) that waits for the end of the step at hand."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["STOPPED", "StopSignal"]

STOPPED = 75
"""Exit code of a run that was asked to stop and can go on (EX_TEMPFAIL of BSD's sysexits)."""

_LOG = logging.getLogger(__name__)


class StopSignal:
    """Note SIGTERM instead of ending at once; a second one ends at once.

    Batch systems send SIGTERM some time before they end a job.

    >>> import os
    >>> stop = StopSignal()
    >>> stop.watch()
    >>> os.kill(os.getpid(), signal.SIGTERM)
    >>> stop.asked
    True
    >>> stop.release()
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def watch(self) -> None:
        """Note the signal from now on; only the main thread of a process can."""
        self.asked = False
        if self._before is None and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)

    def release(self) -> None:
        """Handle the signal as before."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self.release()
            signal.raise_signal(signal.SIGTERM)
            return
        self.asked = True
        _LOG.warning("asked to stop (SIGTERM): the step at hand is finished and saved first")
