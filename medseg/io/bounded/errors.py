"""Errors for data that medseg refuses: each is one clear line for the user."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

__all__ = [
    "DataError",
    "SeriesChoiceError",
    "SeriesGeometryError",
    "UnreadableFileError",
    "os_error_line",
    "os_reason",
    "shorten",
]

_OS_WORDS = {
    errno.EACCES: ("permission denied", "ask its owner for access, or choose another place"),
    errno.EPERM: ("permission denied", "ask its owner for access, or choose another place"),
    errno.EROFS: ("the file system is read-only", "choose another place to write to"),
    errno.ENOSPC: ("the disk is full", "free some space and run again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run again"),
    errno.ENOTEMPTY: ("another program wrote there at the same time", "run again when it has ended"),
    errno.EEXIST: ("another program wrote there at the same time", "run again when it has ended"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "check the path"),
    errno.EISDIR: ("is a folder, expected a file", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "choose a shorter one"),
    errno.ELOOP: ("a symbolic link leads back to itself", "repair the link"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n), or use fewer workers"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs"),
    errno.EIO: ("the disk or the network failed", "check the drive, and copy the files to another one"),
    errno.ESTALE: ("the network folder was changed or lost", "connect it again and run again"),
    errno.EBUSY: ("another program uses it", "run again when it has ended"),
    errno.EFBIG: ("the file is too large for this file system", "choose another place to write to"),
}
"""What the operating system's error numbers mean, and what helps."""


class DataError(ValueError):
    """The data cannot be used as they are; the message names the file, the value found, the value expected, the fix."""


class UnreadableFileError(DataError):
    """A file is cut off, damaged, or stored in a way that cannot be decoded here."""


class SeriesChoiceError(DataError):
    """A folder does not contain a CT series, or contains several and none was chosen."""


class SeriesGeometryError(DataError):
    """The slices do not form a regular grid: gap, duplicate, variable spacing, tilt, mixed orientation."""


def os_reason(error: OSError, advice: bool = False) -> str:
    """What the operating system refused, in words, without error number and path.

    Args:
        error: what was raised.
        advice: add what helps.
    """
    text = " ".join((error.strerror or str(error)).split()) or type(error).__name__
    reason, helps = _OS_WORDS.get(error.errno or 0, (text[:1].lower() + text[1:], ""))
    return f"{reason}; {helps}" if advice and helps else reason


def os_error_line(error: OSError) -> str:
    """An error of the operating system as one line: the path, what was refused, and what helps."""
    path = error.filename2 or error.filename
    where = f"{os.fsdecode(path)}: " if isinstance(path, (str, bytes, os.PathLike)) else ""
    return where + os_reason(error, advice=True)


def shorten(items: Iterable[object], limit: int = 8) -> str:
    """Join items with commas, naming at most ``limit`` of them and counting the rest."""
    names = [str(item) for item in items]
    if len(names) <= limit:
        return ", ".join(names)
    return ", ".join(names[:limit]) + f" and {len(names) - limit} more"
