"""One line and one code for every kind of exception."""

from __future__ import annotations

import errno

import pytest

from medseg.apps.failures import CommandError, Interrupted, explain
from medseg.inference.errors import ConfigurationError, InferenceError, IntegrityError, ResourceError


def wrapped(cause: BaseException) -> RuntimeError:
    """The error as MONAI presents it: inside two errors that say where, not what."""
    inner, outer = RuntimeError("applying transform X"), RuntimeError("Failed to evaluate Y")
    inner.__cause__, outer.__cause__ = cause, inner
    return outer


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (CommandError("no mask"), "no mask", 1),
        (InferenceError("no mask"), "no mask", 1),
        (ConfigurationError("a\nb"), "a b", 2),
        (IntegrityError("no orientation"), "no orientation", 3),
        (ResourceError("too large"), "too large", 5),
        (wrapped(IntegrityError("no orientation")), "no orientation", 3),
        (wrapped(ValueError("bad value")), "bad value", 1),
        (wrapped(KeyError("x")), "KeyError: 'x'", 1),
        (RuntimeError("plain"), "RuntimeError: plain", 1),
        (
            PermissionError(errno.EACCES, "Permission denied", "out/seg.nii.gz"),
            "out/seg.nii.gz: permission denied; ask its owner for access, or choose another place",
            1,
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "out"),
            "out: the file system is read-only; choose another place to write to",
            1,
        ),
    ],
)
def test_the_cause_is_told_in_one_line(error: BaseException, line: str, code: int) -> None:
    assert explain(error) == (line, code)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        wrapped(MemoryError()),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_exhausted_memory_and_disk_exit_with_5(error: BaseException) -> None:
    assert explain(error)[1] == 5


def test_signals_have_their_own_codes() -> None:
    assert explain(KeyboardInterrupt())[1] == 130
    assert explain(Interrupted())[1] == 75


def test_long_messages_are_cut() -> None:
    assert len(explain(CommandError("x" * 5000))[0]) == 400
