"""Atomic writes: a reader sees the old file or the whole new one, never a part of it. Also the text of JSON files."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["atomic_path", "json_text", "naming", "write_json", "write_text"]


@contextmanager
def naming(target: str | Path) -> Iterator[None]:
    """Let errors of the operating system name ``target``, not the temporary file or folder beside it."""
    try:
        yield
    except OSError as error:
        if not error.errno:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``target`` and move it into place when the block ends without an error.

    The temporary name keeps the target's full suffix (``.nii.gz`` stays ``.nii.gz``), because writers choose the format
    by it. Missing parent folders are made. After an error the temporary file is removed and the target is untouched.

    Args:
        target: the file to be written or replaced.

    Yields:
        The path to write to.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with naming(target):
        handle, name = tempfile.mkstemp(prefix=".tmp-", suffix="-" + target.name, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        with naming(target):
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(target: str | Path, text: str) -> Path:
    """Write a UTF-8 text file atomically and return its path."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(target)


def write_json(target: str | Path, value: Any) -> Path:
    """Write ``value`` as indented JSON, atomically; see :func:`json_text` for NaN and infinity."""
    return write_text(target, json_text(value) + "\n")


def json_text(value: Any, indent: int | None = 2, **options: Any) -> str:
    """``value`` as JSON that every reader takes; the one way in which medseg writes JSON.

    JSON has no number for NaN and infinity, and Python's own ``NaN`` and ``Infinity`` are refused by other readers.
    They are written as ``null``: there is no finite number. Who needs to tell them apart writes a word beside it.

    Args:
        value: dictionaries, lists, tuples, text, numbers, booleans and None.
        indent: spaces of each level; None writes one line.
        options: further options of ``json.dumps``.

    Raises:
        TypeError: for values of other types.

    Example:
        >>> json_text({"dice": float("nan"), "cases": 3}, indent=None)
        '{"dice": null, "cases": 3}'
    """
    return json.dumps(_without_nonfinite(value), indent=indent, allow_nan=False, **options)


def _without_nonfinite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nonfinite(item) for item in value]
    return value
