"""Which predicted file belongs to which reference: by the name of the case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medseg.io.bounded.errors import DataError, shorten
from medseg.io.privacy.names import is_plain_name
from medseg.io.volumes.image import IMAGE_SUFFIXES

__all__ = ["CasePair", "label_files", "pair_files", "shown_names"]

_RESULT = "seg.nii.gz"  # as `medseg segment` writes it into a folder of the case's name


class CasePair(NamedTuple):
    """Two label files of one case.

    Attributes:
        key: the name that both files have, without its ending. It may name a patient.
        name: what reports call the case: the key if it is plain, else ``case_0007`` by its place in the order of names.
        prediction: the file to be scored.
        reference: the file that it is scored against.
    """

    key: str
    name: str
    prediction: Path
    reference: Path


def label_files(folder: str | Path) -> dict[str, Path]:
    """Label files of a folder by the name of their case, sorted.

    These are the image files directly in it, and ``CASE/seg.nii.gz`` in folders as `medseg segment` writes them.

    Raises:
        DataError: if there is no such folder, it holds no label file, or two of one name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with label files ({', '.join(IMAGE_SUFFIXES)})")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            key, path = path.name, path / _RESULT
        else:
            key = _stem(path.name)
        if not path.is_file() or not key:
            continue
        if key in found:
            raise DataError(f"{path}: a second file of the case of {found[key]}; leave one of them")
        found[key] = path
    if not found:
        raise DataError(
            f"{folder}: no label file ({', '.join(IMAGE_SUFFIXES)}) and no CASE/{_RESULT} in this folder; other "
            "folders below it are not searched"
        )
    return dict(sorted(found.items()))


def pair_files(predictions: str | Path, references: str | Path, only_common: bool = False) -> list[CasePair]:
    """Pairs of files with the same name, sorted; endings may differ (``case.nii`` and ``case.mha``).

    Args:
        predictions: folder to be scored, see `label_files`.
        references: folder with the truth.
        only_common: leave out files without a partner; by default they are refused.

    Raises:
        DataError: for files without a partner, with their names, or if no file has one.
    """
    first, second = label_files(predictions), label_files(references)
    common = [key for key in first if key in second]
    lost = [second[key] for key in second if key not in first]
    extra = [first[key] for key in first if key not in second]
    if not common:
        raise DataError(
            f"{predictions}: no file has the name of a file in {references} ({next(iter(first.values()))} and "
            f"{next(iter(second.values()))}, for example); expected equal names, endings aside"
        )
    if (lost or extra) and not only_common:
        parts = [f"{len(lost)} without a prediction: {shorten(lost, 4)}"] if lost else []
        parts += [f"{len(extra)} without a reference: {shorten(extra, 4)}"] if extra else []
        raise DataError(f"files lack a partner ({'; '.join(parts)}); complete them, or add --only-common")
    names = shown_names(common)
    return [CasePair(key, name, first[key], second[key]) for key, name in zip(common, names, strict=True)]


def shown_names(keys: Sequence[str]) -> list[str]:
    """What reports call cases: their name if it is plain, else ``case_0007`` by their place.

    >>> shown_names(["volume-1", "SMITH_JOHN"])
    ['volume-1', 'case_0002']
    """
    names = [key if is_plain_name(key) else f"case_{number:04d}" for number, key in enumerate(keys, 1)]
    if len(set(names)) < len(names):  # a file that is itself called so
        names = [f"case_{number:04d}" for number in range(1, len(keys) + 1)]
    return names


def _stem(name: str) -> str:
    suffix = next((ending for ending in IMAGE_SUFFIXES if name.lower().endswith(ending)), None)
    return "" if suffix is None else name[: -len(suffix)]
