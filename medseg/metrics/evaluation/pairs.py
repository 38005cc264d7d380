"""Which predicted file belongs to which reference: by the name of the case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medseg.io.bounded.errors import DataError, shorten
from medseg.io.privacy.names import is_plain_name
from medseg.io.privacy.pseudonym import Pseudonymiser
from medseg.io.volumes.image import IMAGE_SUFFIXES

__all__ = ["CasePair", "label_files", "pair_files", "shown_names"]

_RESULT = "seg.nii.gz"  # as `medseg segment` writes it into a folder of the case's name


class CasePair(NamedTuple):
    """Two label files of one case.

    Attributes:
        key: the name that both files have, without its ending. It may name a patient.
        name: what reports call the case: the key if it is plain, else ``case_0007`` by its place in the order of
            the references' names.
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


def pair_files(
    predictions: str | Path, references: str | Path, only_common: bool = False, key: Pseudonymiser | None = None
) -> list[CasePair]:
    """Pairs of files with the same name, sorted; endings may differ (``case.nii`` and ``case.mha``).

    Args:
        predictions: folder to be scored, see `label_files`.
        references: folder with the truth.
        only_common: leave out files without a partner; by default they are refused.
        key: gives cases whose names could name a patient pseudonyms in place of numbers.

    Raises:
        DataError: for files without a partner, with their names, or if no file has one.
    """
    first, second = label_files(predictions), label_files(references)
    common = [case for case in first if case in second]
    lost = [path for case, path in second.items() if case not in first]
    extra = [path for case, path in first.items() if case not in second]
    if not common:
        raise DataError(
            f"{predictions}: no file has the name of a file in {references} ({next(iter(first.values()))} and "
            f"{next(iter(second.values()))}, for example); expected equal names, endings aside"
        )
    if (lost or extra) and not only_common:
        parts = [f"{len(lost)} without a prediction: {shorten(lost, 4)}"] if lost else []
        parts += [f"{len(extra)} without a reference: {shorten(extra, 4)}"] if extra else []
        raise DataError(f"files lack a partner ({'; '.join(parts)}); complete them, or add --only-common")
    # By the place among all references, so that a case has one name whichever result it is paired with.
    names = dict(zip(second, shown_names(list(second), key), strict=True))
    return [CasePair(case, names[case], first[case], second[case]) for case in common]


def shown_names(keys: Sequence[str], key: Pseudonymiser | None = None) -> list[str]:
    """What reports call cases: their name if it is plain, else ``case_0007`` by their place, or a pseudonym.

    Args:
        keys: names of the cases, sorted.
        key: source of the pseudonyms.

    >>> shown_names(["volume-1", "SMITH_JOHN"])
    ['volume-1', 'case_0002']
    """
    numbered = [f"case_{number:04d}" for number in range(1, len(keys) + 1)]
    hidden = numbered if key is None else [key.patient(name) for name in keys]
    names = [name if is_plain_name(name) else other for name, other in zip(keys, hidden, strict=True)]
    return names if len(set(names)) == len(names) else hidden  # a file can itself be called case_0002


def _stem(name: str) -> str:
    suffix = next((ending for ending in IMAGE_SUFFIXES if name.lower().endswith(ending)), None)
    return "" if suffix is None else name[: -len(suffix)]
