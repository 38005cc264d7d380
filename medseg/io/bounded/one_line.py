"""One line instead of a traceback for data and settings that medseg refuses, in commands of MONAI."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

__all__ = ["caller_prints_errors", "one_line_errors", "refusal_of"]

_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]
# A worker of a data loader hands its error over as text: the whole traceback, with the name of the error's class.
_IN_A_WORKER = re.compile(r"^medseg\.io\.bounded\.errors\.\w+: (.+)$", re.MULTILINE)

_callers: list[str] = []  # commands that print the line themselves, while they run
_ANNOUNCED = re.compile(r"(Current|Engine) run is terminating due to exception")


def one_line_errors() -> None:
    """Let ``python -m monai.bundle`` end with one line where medseg refuses data or settings.

    A bundle calls this first of all in its ``initialize``. MONAI wraps every error once for each level of the
    configuration; more than fifty lines hide the one that says what to do. With this, an error that medseg raised on
    purpose is printed as ``error: ...`` alone, and the exit code stays 1. All other errors keep their traceback, and so
    does everything in a process that was started in another way, such as a script or a notebook; ``medseg run`` prints
    the line itself.

    Ignite's own announcements of the error ("Engine run is terminating ...") repeat it once for each engine; they are
    left out of the log.
    """
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    by_monai = main is not None and main.name == "monai.bundle.__main__"
    if by_monai:
        sys.excepthook = _hook_before(sys.excepthook)
    if by_monai or _callers:
        for handler in logging.getLogger().handlers:
            handler.addFilter(lambda record: not _ANNOUNCED.match(str(record.msg)))


@contextmanager
def caller_prints_errors(command: str) -> Iterator[None]:
    """Within the block, a bundle leaves ignite's announcements out of the log, as under ``python -m monai.bundle``.

    Args:
        command: the one that prints a refused line itself.

    >>> with caller_prints_errors("medseg run"):
    ...     one_line_errors()
    """
    _callers.append(command)
    try:
        yield
    finally:
        _callers.remove(command)


def _hook_before(before: _Hook) -> _Hook:
    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> object:
        line = refusal_of(error)
        if line is None:
            return before(kind, error, trace)
        sys.stdout.flush()
        print(f"error: {line}", file=sys.stderr)
        return None

    return hook


def refusal_of(error: BaseException) -> str | None:
    """The one line with which medseg refused something, found below the errors that were raised from it.

    Args:
        error: as it arrives at the top.

    Returns:
        The line, or None if nothing in the chain of causes was raised by medseg on purpose.

    >>> from medseg.io.bounded.errors import DataError
    >>> worker = RuntimeError("Caught DataError in a worker:\\nmedseg.io.bounded.errors.DataError: a.nii.gz: too short")
    >>> refusal_of(worker)
    'a.nii.gz: too short'
    >>> refusal_of(ValueError("an error of another package")) is None
    True
    """
    cause: BaseException | None = error
    while cause is not None:
        found = _IN_A_WORKER.search(str(cause))
        if found is not None:
            return found.group(1)
        if isinstance(cause, ValueError) and _raised_on_purpose(cause):
            return " ".join(str(cause).split())
        cause = cause.__cause__
    return None


def _raised_on_purpose(error: ValueError) -> bool:
    """True for a ``raise`` statement in a module of medseg; False where a call of another library failed there."""
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None or not str(innermost.tb_frame.f_globals.get("__name__", "")).startswith("medseg."):
        return False
    return (traceback.extract_tb(innermost)[-1].line or "").startswith("raise ")
