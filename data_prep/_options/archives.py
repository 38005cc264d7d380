"""Inputs that may be given as an archive where a command expects a folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from data_prep._options.command_line import UsageError, run_command

__all__ = ["check_folder", "run_unpacked"]


def run_unpacked(
    body: Callable[[argparse.Namespace], int | None], args: argparse.Namespace, options: Sequence[str]
) -> int:
    """Run a command as `run_command` does, with temporary folders in place of the archives among its inputs.

    The folders are removed when the command ends. They are called like the archives, so that messages name these.

    Args:
        body: the command; it is given the options with folders only.
        args: the options as a `OneLineParser` returned them.
        options: names of those that hold a folder or an archive (or None).

    Returns:
        The exit code.
    """
    from medseg.io.bounded.archive import is_archive, unpacked

    given = {name: getattr(args, name) for name in options}
    archives = {path for path in given.values() if path is not None and is_archive(path)}
    if not archives:
        return run_command(lambda: body(args), args)
    with ExitStack() as stack:
        folders: dict[Path, Path] = {}

        def unpack() -> None:
            for path in sorted(archives):
                folders[path] = stack.enter_context(unpacked(path))

        code = run_command(unpack, args)
        if code:
            return code
        inner = argparse.Namespace(**{**vars(args), **{name: folders.get(path, path) for name, path in given.items()}})
        # The folders are now the inputs: names of the files in them are hidden like those of any folder.
        inputs = {word: folders.get(path, path) for word, path in args.named_paths.inputs.items()}
        inner.named_paths = args.named_paths._replace(inputs=inputs)
        return run_command(lambda: body(inner), inner)


def check_folder(path: Path) -> None:
    """Refuse an input that is neither a folder nor was unpacked into one.

    Raises:
        UsageError: naming the path and the endings of archives.
    """
    from medseg.io.bounded.archive import ARCHIVE_SUFFIXES

    if path.is_file():
        raise UsageError(f"{path}: is a file, expected a folder or an archive ({', '.join(ARCHIVE_SUFFIXES)})")
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder")
