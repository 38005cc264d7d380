"""What the command lines share: one-line errors, exit codes, output folders that appear whole or not at all."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from medseg.io.bounded.atomic import naming
from medseg.io.bounded.errors import DataError, os_error_line
from medseg.io.bounded.remedies import fit_remedies
from medseg.io.privacy.names import HiddenNames
from medseg.io.privacy.terminal import add_show_names_option, print_error, private_terminal, shows_names

__all__ = [
    "EXIT_CODES",
    "NamedPaths",
    "OneLineParser",
    "UsageError",
    "input_names",
    "new_folder",
    "output_path",
    "run_command",
    "shows_names",
]

EXIT_CODES = "exit codes: 0 done, 1 run-time failure, 2 wrong usage, 3 data refused (nothing was written)"


class UsageError(Exception):
    """The command line asks for something that is not possible, such as to overwrite without ``--overwrite``."""


class NamedPaths(NamedTuple):
    """The paths of a command line, by what they are.

    Attributes:
        inputs: paths that are read, by the word that stands for each in messages, such as ``IN`` or ``PAIR 2 IMAGE``.
        outputs: paths that are written; messages show them as they were typed.
    """

    inputs: dict[str, Path]
    outputs: tuple[Path, ...]


def output_path(text: str) -> Path:
    """Type of an argument that names something to be written; any other argument of type ``Path`` is an input."""
    return Path(text)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with the option ``--show-names``.

    Args:
        renamed: how this command writes an option, with its value, that readers write otherwise in their messages.
        settings: as for ``ArgumentParser``.
    """

    def __init__(self, *, renamed: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.renamed = dict(renamed or {})
        add_show_names_option(self)

    def error(self, message: str) -> NoReturn:
        """Print ``error: ...`` and leave with code 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The values of all arguments, and as ``named_paths`` the paths among them (`NamedPaths`).

        As ``fit_message`` a function is added that makes the options in a message those of this command.
        """
        found = super().parse_args(args, namespace)
        inputs: dict[str, Path] = {}
        outputs: list[Path] = []
        for action in self._actions:
            paths = _paths_of(action, getattr(found, action.dest, None))
            if action.type is output_path:
                outputs.extend(paths.values())
            else:
                inputs.update(paths)
        found.named_paths = NamedPaths(inputs, tuple(outputs))
        found.fit_message = partial(fit_remedies, options=self.options(), renamed=self.renamed)
        return found

    def options(self) -> frozenset[str]:
        """All options of this command."""
        return frozenset(self._option_string_actions)


def run_command(body: Callable[[], int | None], args: argparse.Namespace) -> int:
    """Run a command and turn its outcome into an exit code; errors are printed as one line on stderr.

    Whatever the command prints passes through `medseg.io.privacy.names.HiddenNames`, and what the libraries log or warn
    of, quoting header values, is not printed at all; both unless ``--show-names`` is given.

    Args:
        body: the command; it may return an exit code of its own.
        args: its options; the paths among them say which names belong to the input.
    """
    with _private_terminal(args) as names:
        try:
            code = body()
        except UsageError as error:
            return _fail(2, error, names, args)
        except DataError as error:
            return _fail(3, error, names, args)
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            return _fail(1, error, names, args)
        except Exception as error:
            if names is None:
                raise
            print(f"error: {_fault(error)}; MEDSEG_SHOW_NAMES=1 shows where and why", file=sys.stderr)
            return 1
    return code or 0


def input_names(args: argparse.Namespace, **more: Path) -> HiddenNames:
    """What is said, in files, in place of the names under the paths that the user gave as input.

    Args:
        args: what a `OneLineParser` returned.
        more: further inputs that the command found by itself, by their words.
    """
    return HiddenNames({**_named_paths(args).inputs, **more})


def _named_paths(args: argparse.Namespace) -> NamedPaths:
    found: NamedPaths = getattr(args, "named_paths", NamedPaths({}, ()))
    return found


def _paths_of(action: argparse.Action, value: object) -> dict[str, Path]:
    """The paths among the values of one argument, each with the word that messages have for it."""
    word = (
        action.option_strings[-1].lstrip("-").upper() if action.option_strings else str(action.metavar or action.dest)
    )
    values = value if isinstance(value, (list, tuple)) else [value]
    found: dict[str, Path] = {}
    for number, item in enumerate(values, 1):
        numbered = f"{word} {number}" if len(values) > 1 else word
        if isinstance(item, (list, tuple)):
            parts = action.metavar if isinstance(action.metavar, tuple) else range(1, len(item) + 1)
            found |= {f"{numbered} {part}": path for part, path in zip(parts, item, strict=False)}
        else:
            found[numbered] = item
    return {name: path for name, path in found.items() if isinstance(path, Path)}


@contextmanager
def _private_terminal(args: argparse.Namespace) -> Iterator[HiddenNames | None]:
    if shows_names(args):
        yield None
        return
    paths = _named_paths(args)
    names = HiddenNames(paths.inputs, outputs=paths.outputs)
    with private_terminal(names, stdout=not getattr(args, "json", False)):
        yield names


def _fail(code: int, error: BaseException, names: HiddenNames | None, args: argparse.Namespace) -> int:
    print_error(getattr(args, "fit_message", str)(_one_line(error)), names)
    return code


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno:
        return os_error_line(error)
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({text})' if text else ''}; close other programs, or use a machine with more of it"
    return text or type(error).__name__


def _fault(error: BaseException) -> str:
    """A fault of the program by type and place; its own text is left out, because it can quote the input."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" in {Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
    return f"{type(error).__name__}{place}, a fault of the program"


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
    with naming(out):
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
            with contextlib.suppress(OSError):  # another program put something there meanwhile
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
        _publish(temporary, out, "nothing was changed there; choose another --out")
        return
    with naming(out):
        old = Path(tempfile.mkdtemp(prefix=f"{out.name}.previous-", dir=out.parent))
        os.replace(out, old)
    try:
        _publish(temporary, out, f"the output that was to be replaced is kept in {old}")
    except OSError:
        os.replace(old, out)
        raise
    shutil.rmtree(old)


def _publish(temporary: Path, out: Path, left: str) -> None:
    """Move a finished folder to its place.

    Raises:
        RuntimeError: if another program has filled the place meanwhile.
    """
    try:
        with naming(out):
            os.replace(temporary, out)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise RuntimeError(f"{out}: another program wrote there while this one ran; {left}") from None
