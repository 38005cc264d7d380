"""Which image belongs to which label: from a data set list, from two folders, or as given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data_prep._options.command_line import UsageError
from medseg.io.privacy.names import is_plain_name

__all__ = ["Pair", "PairList", "pairs_given", "pairs_of_dataset", "pairs_of_folders"]

_LISTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Pair:
    """One case.

    Attributes:
        name: the case's name, unique in its list: that of its image file, or ``case_0001`` by its place in the list
            where that could name a patient.
        image: an image file, or a folder with one DICOM CT series.
        label: its label file; None for a test image.
        lists: the lists that it is in: training, validation, test.
    """

    name: str
    image: Path
    label: Path | None
    lists: tuple[str, ...]


class PairList(NamedTuple):
    """The cases to check.

    Attributes:
        pairs: the cases.
        labels: names of the label values; None if nothing says which are allowed.
        unmatched: files that lack a partner.
    """

    pairs: tuple[Pair, ...]
    labels: dict[int, str] | None = None
    unmatched: tuple[Path, ...] = ()


def pairs_of_dataset(path: Path) -> PairList:
    """Cases of a Decathlon-style list; paths are relative to its folder.

    Raises:
        DataError: if the list cannot be read or names nothing.
    """
    from data_prep._options.dataset_json import read_dataset_json
    from medseg.io.bounded.errors import DataError

    content = read_dataset_json(path)
    found: dict[tuple[Path, Path | None], list[str]] = {}
    for key in _LISTS:
        for item in content[key]:
            label = item.get("label")
            pair = (path.parent / item["image"], path.parent / label if isinstance(label, str) else None)
            found.setdefault(pair, []).append(key)
    if not found:
        raise DataError(f"{path}: names no image, expected items in 'training', 'validation' or 'test'")
    names = _unique_names([image for image, _ in found])
    pairs = [
        Pair(n, image, label, tuple(lists)) for n, ((image, label), lists) in zip(names, found.items(), strict=True)
    ]
    return PairList(tuple(pairs), _label_names(path, content.get("labels")))


def pairs_of_folders(images: Path, labels: Path) -> PairList:
    """Image and label files of equal names (an image may end in ``_0000``, as nnU-Net names channels)."""
    known = {_case_name(path): path for path in _image_files(labels)}
    files = _image_files(images)
    chosen = [path for path in files if _case_name(path) in known]
    if not chosen:
        raise UsageError(f"no file of {images} has the name of a file of {labels}; use --pair IMAGE LABEL")
    names = [_case_name(path) for path in chosen]
    twice = [path.name for path, name in zip(chosen, names, strict=True) if names.count(name) > 1]
    if twice:
        raise UsageError(f"{images}: two images belong to the label of {twice[0]}; use --pair IMAGE LABEL")
    shown = _unique_names(chosen)
    pairs = tuple(
        Pair(name, path, known[_case_name(path)], ("training",)) for name, path in zip(shown, chosen, strict=True)
    )
    alone = [path for path in files if path not in chosen]
    alone += [path for name, path in known.items() if name not in names]
    return PairList(pairs, None, tuple(alone))


def pairs_given(pairs: Sequence[Sequence[Path]]) -> PairList:
    """Pairs as the command line names them; an image may be a DICOM folder."""
    names = _unique_names([image for image, _ in pairs])
    return PairList(tuple(Pair(n, image, label, ("training",)) for n, (image, label) in zip(names, pairs, strict=True)))


def _label_names(path: Path, labels: Any) -> dict[int, str] | None:
    """Both ways round: value to name (Decathlon) and name to value or values (nnU-Net)."""
    from medseg.io.bounded.errors import DataError

    if labels is None:
        return None
    names: dict[int, str] = {}
    try:
        for key, value in dict(labels).items():
            if str(key).isdigit():
                names[int(key)] = str(value)
            else:
                for number in value if isinstance(value, list) else [value]:
                    names[int(number)] = str(key)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: 'labels' is {str(labels)[:80]!r}, expected values with names") from error
    return names


def _image_files(folder: Path) -> list[Path]:
    from medseg.io.volumes.image import IMAGE_SUFFIXES

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(IMAGE_SUFFIXES))


def _stem(path: Path) -> str:
    from medseg.io.volumes.image import IMAGE_SUFFIXES

    suffix = next((s for s in IMAGE_SUFFIXES if path.name.lower().endswith(s)), "")
    return path.name[: len(path.name) - len(suffix)]


def _case_name(path: Path) -> str:
    return _stem(path).removesuffix("_0000")


def _unique_names(images: Sequence[Path]) -> list[str]:
    stems = [_case_name(path) for path in images]
    names = [s if stems.count(s) == 1 else f"{path.parent.name}_{s}" for s, path in zip(stems, images, strict=True)]
    names = [name if is_plain_name(name) else f"case_{number:04d}" for number, name in enumerate(names, 1)]
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique
