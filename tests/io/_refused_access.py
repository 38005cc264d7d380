"""Files and folders that the operating system refuses to open, also to a test that runs as root."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest


def refuse_access(monkeypatch: pytest.MonkeyPatch, refused: Path, number: int = errno.EACCES) -> None:
    """Let every way in which Python opens or lists ``refused`` end with an error of the operating system."""
    plain_open, plain_file, plain_scan = io.open, io.FileIO, os.scandir

    def check(path: Any) -> None:
        if isinstance(path, (str, Path)) and Path(path) == refused:
            raise OSError(number, os.strerror(number), path)

    def guarded_open(file: Any, *args: Any, **kwargs: Any) -> Any:
        check(file)
        return plain_open(file, *args, **kwargs)

    class GuardedFile(plain_file):  # type: ignore[misc, valid-type]
        def __init__(self, file: Any, *args: Any, **kwargs: Any) -> None:
            check(file)
            super().__init__(file, *args, **kwargs)

    def guarded_scan(path: Any = ".") -> Any:
        check(path)
        return plain_scan(path)

    monkeypatch.setattr(io, "open", guarded_open)
    monkeypatch.setattr("builtins.open", guarded_open)
    monkeypatch.setattr(io, "FileIO", GuardedFile)
    monkeypatch.setattr(os, "scandir", guarded_scan)
