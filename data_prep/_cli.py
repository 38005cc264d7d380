"""What the command lines share: one-line errors, exit codes, output folders that appear whole or not at all."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

__all__ = ["EXIT_CODES", "OneLineParser", "UsageError", "new_folder", "run_command"]

EXIT_CODES = "exit codes: 0 done, 1 run-time failure, 2 wrong usage, 3 data refused (nothing was written)"


class UsageError(Exception):
    """The command line asks for something that cannot be done, e.g. to overwrite without leave."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print ``error: ...`` and leave with code 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def run_command(body: Callable[[], None]) -> int:
    """Run a command and turn its outcome into an exit code; errors are printed as one line on stderr."""
    from medseg.io.errors import DataError

    try:
        body()
    except UsageError as error:
        return _fail(2, error)
    except DataError as error:
        return _fail(3, error)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        return _fail(1, error)
    return 0


def _fail(code: int, error: BaseException) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"error: {text}", file=sys.stderr)
    return code


@contextmanager
def new_folder(out: Path, overwrite: bool, marker: str) -> Iterator[Path]:
    """Give an empty temporary folder that becomes ``out`` when the block ends without an error.

    Args:
        out: the folder to make; an existing empty folder is taken over.
        overwrite: replace ``out`` even if it holds files, provided that it was written by the same command.
        marker: name of a file by which an earlier output of the command is known.

    Yields:
        The folder to write into. After an error it is removed and ``out`` is untouched.

    Raises:
        UsageError: if ``out`` exists and may not be replaced.
    """
    _check_target(out, overwrite, marker)
    made = _make_parents(out.parent)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", suffix="-" + out.name, dir=out.parent))
    done = False
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _swap(temporary, out)
        done = True
    finally:
        if not done:
            shutil.rmtree(temporary, ignore_errors=True)
            for folder in made:
                folder.rmdir()


def _check_target(out: Path, overwrite: bool, marker: str) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file, expected a folder to write into")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{out} is not empty; choose another --out or add --overwrite")
    if not (out / marker).is_file():
        raise UsageError(
            f"{out} holds no {marker}, so it was not written by this command; --overwrite will not replace it"
        )


def _make_parents(folder: Path) -> list[Path]:
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _swap(temporary: Path, out: Path) -> None:
    if not out.exists():
        os.replace(temporary, out)
        return
    old = Path(tempfile.mkdtemp(prefix=".old-", suffix="-" + out.name, dir=out.parent))
    os.replace(out, old)
    try:
        os.replace(temporary, out)
    except OSError:
        os.replace(old, out)
        raise
    shutil.rmtree(old)
