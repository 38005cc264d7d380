"""Errors of data that medseg refuses: each is one clear line for the person at the keyboard."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["DataError", "SeriesChoiceError", "SeriesGeometryError", "UnreadableFileError", "shorten"]


class DataError(ValueError):
    """The data cannot be used as they are; the message names the file, the value found, the value expected, the fix."""


class UnreadableFileError(DataError):
    """A file is cut off, damaged, or stored in a way that cannot be decoded here."""


class SeriesChoiceError(DataError):
    """A folder holds no CT series, or several and none was chosen."""


class SeriesGeometryError(DataError):
    """The slices form no regular grid: gap, duplicate, variable spacing, tilt, mixed orientation."""


def shorten(items: Iterable[object], limit: int = 8) -> str:
    """Join items with commas, naming at most ``limit`` of them and counting the rest."""
    names = [str(item) for item in items]
    if len(names) <= limit:
        return ", ".join(names)
    return ", ".join(names[:limit]) + f" and {len(names) - limit} more"
