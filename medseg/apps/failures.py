"""From an exception to one line for people and an exit code."""

from __future__ import annotations

import errno

from medseg.inference.errors import ConfigurationError, InferenceError, IntegrityError, ResourceError, root_cause
from medseg.io.bounded.errors import os_error_line

__all__ = ["CommandError", "Interrupted", "explain"]

_EXIT_CODES = ((ConfigurationError, 2), (IntegrityError, 3), (ResourceError, 5))
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class CommandError(Exception):
    """A command failed; the message is one line for people: what was found, what was expected, the fix."""


class Interrupted(KeyboardInterrupt):
    """The process was asked to stop (SIGTERM, exit code 75); running the same command again is safe.

    It is not an ``Exception``, so that libraries which catch those cannot swallow it.
    """


def explain(error: BaseException) -> tuple[str, int]:
    """One line that says what went wrong, and the exit code.

    Libraries wrap errors in plain ``RuntimeError``s that say where, not what; the wrapped error is reported instead.

    Returns:
        ``(line, code)`` with code 1 run-time failure, 2 usage or configuration, 3 data integrity, 5 out of memory or
        disk, 75 stopped from outside (run it again), 130 Ctrl-C.
    """
    if isinstance(error, Interrupted):
        return str(error) or "stopped by SIGTERM; nothing was published, run the same command again", 75
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted; nothing was published", 130
    cause = root_cause(error)
    if isinstance(cause, CommandError | InferenceError):
        return _one_line(str(cause)), next((code for kind, code in _EXIT_CODES if isinstance(cause, kind)), 1)
    if _out_of_memory(cause):
        return (
            f"out of memory ({_one_line(str(cause)) or 'no details'}); close other programs or use a larger machine",
            5,
        )
    if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
        return _one_line(os_error_line(cause)), 5
    if isinstance(cause, OSError) and cause.errno:
        return _one_line(os_error_line(cause)), 1
    text = _one_line(str(cause))
    if isinstance(cause, ValueError) and text:
        return text, 1
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__, 1


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def _one_line(text: str, limit: int = 400) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
