"""Locks that keep two runs from working on the same part of a cohort; the kernel releases them when a process ends."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PartBusyError", "one_at_a_time", "part_lock"]

_BUSY = (errno.EAGAIN, errno.EACCES)


class PartBusyError(Exception):
    """Another run works on this part of a cohort, or divides the cohort otherwise."""


@contextmanager
def part_lock(folder: Path, part: int, parts: int) -> Iterator[None]:
    """Lock one part of a cohort during the block.

    Other parts of the same number of parts may run beside it; a run that divides the cohort otherwise may not, because
    the same case could fall to both.

    Args:
        folder: where the lock files are; it must exist.
        part: number of the part, from 0.
        parts: number of parts.

    Raises:
        PartBusyError: if another run holds the part, or divides the cohort otherwise.
    """
    own = _open(folder / f"part-{part}-of-{parts}.lock")
    division = _open(folder / f"division-{parts}.lock")
    try:
        if not _lock(own, fcntl.LOCK_EX):
            raise PartBusyError(f"{folder.parent}: another run works on part {part} of {parts}; wait for it or stop it")
        _lock(division, fcntl.LOCK_SH)
        for path in sorted(folder.glob("division-*.lock")):
            if path.name != f"division-{parts}.lock":
                _check_free(path)
        yield
    finally:
        os.close(own)
        os.close(division)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process is in a block of the same path."""
    descriptor = _open(path)
    try:
        _lock(descriptor, fcntl.LOCK_EX, wait=True)
        yield
    finally:
        os.close(descriptor)


def _check_free(path: Path) -> None:
    descriptor = _open(path)
    try:
        if not _lock(descriptor, fcntl.LOCK_EX):
            found = path.stem.removeprefix("division-")
            raise PartBusyError(
                f"{path.parent.parent}: another run divides this cohort into {found} part(s); use the same --num-parts "
                "or wait for it"
            )
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _lock(descriptor: int, kind: int, wait: bool = False) -> bool:
    """True if the lock is held (or the file system has none, which is said once), False if another holds it."""
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        print(f"warning: no file locks here ({error.strerror}); never run a part twice at a time", file=sys.stderr)
    return True
