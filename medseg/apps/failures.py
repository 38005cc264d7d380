"""From an exception to one line for people and an exit code."""

from __future__ import annotations

import errno

from medseg.inference.errors import CommandError, Interrupted

__all__ = ["explain"]

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def explain(error: BaseException) -> tuple[str, int]:
    """One line that says what went wrong, and the exit code.

    Libraries wrap errors in plain ``RuntimeError``s that say where, not what; those wrappers are looked through.

    Returns:
        ``(line, code)`` with code 1 run-time failure, 2 usage or configuration, 3 data integrity, 5 out of memory or
        disk, 75 stopped from outside (run it again), 130 Ctrl-C.
    """
    if isinstance(error, Interrupted):
        return "stopped by SIGTERM; nothing was published, run the same command again", 75
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing was published", 130
    cause = _cause(error)
    if isinstance(cause, CommandError):
        return _one_line(str(cause)), cause.exit_code
    if _out_of_memory(cause):
        return (
            f"out of memory ({_one_line(str(cause)) or 'no details'}); close other programs or use a larger machine",
            5,
        )
    if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
        return f"disk full: {_one_line(str(cause))}; free some space and run again", 5
    text = _one_line(str(cause))
    if isinstance(cause, ValueError) and text:
        return text, 1
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__, 1


def _cause(error: BaseException) -> BaseException:
    while type(error) is RuntimeError and error.__cause__ is not None:
        error = error.__cause__
    return error


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def _one_line(text: str, limit: int = 400) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
