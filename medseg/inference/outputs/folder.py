"""A result folder that appears complete or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medseg.inference.errors import ConfigurationError
from medseg.io.bounded.atomic import naming
from medseg.io.bounded.checksum import sha256_of

__all__ = [
    "DICOM_FILES",
    "PROBABILITY_FILE",
    "RESULT_FILES",
    "check_target",
    "describe_outputs",
    "previous_of",
    "staged_folder",
]

RESULT_FILES = ("seg.nii.gz", "statistics.json", "preview.png", "report.html", "run.json", "medseg.log")
"""File names of a result; ``report.html`` can be left out."""

DICOM_FILES = {"dicom_seg": "seg.dcm", "rtstruct": "rtstruct.dcm"}
"""File names of the results that are written on request, by output type."""

PROBABILITY_FILE = "probability.nii.gz"
"""Probabilities of the foreground classes, written on request: 3D for one class, else 4D in the order of the labels."""

_ALL_FILES = (*RESULT_FILES, *DICOM_FILES.values(), PROBABILITY_FILE)


def check_target(target: str | Path, overwrite: bool, files: Sequence[str] = _ALL_FILES) -> None:
    """Refuse a result folder in which something would be destroyed.

    Args:
        target: the result folder asked for.
        overwrite: whether an earlier result may be replaced.
        files: names of the files that a result of the command consists of.

    Raises:
        ConfigurationError: if ``target`` is a file, holds an earlier result without ``overwrite``, or holds anything
            that is not a result of this command (then ``overwrite`` does not help).
    """
    target = Path(target)
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigurationError(f"{target}: is a file, expected a folder for the results")
    present = sorted(entry.name for entry in target.iterdir())
    foreign = [name for name in present if name not in files]
    if foreign:
        raise ConfigurationError(
            f"{target}: holds {foreign[0]!r}, which is not a result of this command; choose an empty or new folder"
        )
    if present and not overwrite:
        raise ConfigurationError(f"{target}: holds an earlier result; give overwrite (--overwrite) or another folder")


def previous_of(target: str | Path) -> Path:
    """Where an earlier result in ``target`` is kept while it is being replaced, and after the new run has failed."""
    target = Path(target).absolute()
    return target.with_name(target.name + ".previous")


@contextmanager
def staged_folder(target: str | Path, overwrite: bool = False, files: Sequence[str] = _ALL_FILES) -> Iterator[Path]:
    """Give a temporary folder next to ``target`` and rename it to ``target`` when the block ends without an error.

    With ``overwrite``, an earlier result is first moved to ``<target>.previous`` and removed after success. After an
    error it stays there, so that an old result in ``target`` is never mistaken for the new one.

    The temporary folder is locked while its run lives. What killed runs have left beside ``target`` is removed first.

    Args:
        target: the result folder.
        overwrite: whether an earlier result may be replaced.
        files: as for ``check_target``.

    Yields:
        The folder to write into.

    Raises:
        ConfigurationError: as ``check_target``, and if another run writes to ``target`` at the same time.
    """
    target = Path(target).absolute()
    check_target(target, overwrite, files)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.partial-"
    _remove_left_over(target, prefix)
    with naming(target):
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    previous = previous_of(target)
    lock = _lock(staging)
    try:
        _set_aside(target, previous, files)
        yield staging
        os.chmod(staging, 0o777 & ~_umask())
        with naming(target):
            os.rename(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    if overwrite and previous.is_dir():
        _remove_result(previous, files)


def _remove_left_over(target: Path, prefix: str) -> None:
    """Remove the temporary folders of runs that are no longer alive.

    Raises:
        ConfigurationError: if one of them belongs to a run that is.
    """
    for left in (path for path in target.parent.iterdir() if path.name.startswith(prefix)):
        try:
            lock = _lock(left)
        except BlockingIOError:
            raise ConfigurationError(
                f"{target}: another run writes there at this moment; wait for its end, or choose another folder"
            ) from None
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or the process ends; None where the file system has no locks.

    Raises:
        BlockingIOError: if another process holds the lock.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # removed meanwhile, or not ours
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _set_aside(target: Path, previous: Path, files: Sequence[str]) -> None:
    if not target.is_dir():
        return
    if not any(target.iterdir()):
        target.rmdir()
        return
    if previous.exists():
        check_target(previous, overwrite=True, files=files)
        _remove_result(previous, files)
    with naming(target):
        os.rename(target, previous)


def _remove_result(folder: Path, files: Sequence[str]) -> None:
    """Remove the result files of a folder, then the folder. If it holds another file, that file and the folder stay."""
    for name in files:
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def describe_outputs(folder: Path, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Name, SHA-256 and size in bytes of every named file in ``folder``."""
    return [
        {"path": name, "sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size} for name in names
    ]
