"""Which label files belong to a case, and which values their map gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from data_prep._options.command_line import UsageError
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.privacy.names import is_plain_name

__all__ = ["CaseFolder", "LayerFile", "MapRule", "case_folders", "layer_files", "parse_rules"]


class MapRule(NamedTuple):
    """One word of ``--map``.

    Attributes:
        pattern: of file names without their endings; ``*`` and ``?`` stand for any letters and one letter.
        values: new value of all values above 0, or of single ones; None leaves the files out.
    """

    pattern: str
    values: int | Mapping[int, int] | None


class LayerFile(NamedTuple):
    """A label file and its values.

    Attributes:
        path: the file.
        rule: number of its rule, from 1.
        values: as `MapRule`; never None.
    """

    path: Path
    rule: int
    values: int | Mapping[int, int]


class CaseFolder(NamedTuple):
    """The label files of one case.

    Attributes:
        name: of the folder if it is plain, else ``case_0001`` by its place.
        path: the folder.
    """

    name: str
    path: Path


def parse_rules(words: Sequence[str]) -> list[MapRule]:
    """The rules of ``--map``, in their order.

    Raises:
        UsageError: for a word that is not ``PATTERN=VALUES`` or ``PATTERN=skip``.
    """
    from medseg.datasets.label_merge import parse_value_map

    rules = []
    for word in words:
        pattern, sign, text = word.rpartition("=")
        if not sign or not pattern:
            raise UsageError(f"--map holds {word!r}, expected PATTERN=VALUES, such as 'tumour*=2' or 'label=1:1,2:2'")
        try:
            rules.append(MapRule(pattern, None if text == "skip" else parse_value_map(text)))
        except ValueError as error:
            raise UsageError(f"--map: {error}, or skip") from None
    return rules


def layer_files(folder: Path, rules: Sequence[MapRule]) -> list[LayerFile]:
    """The label files of a folder with their values, in the order of the rules, then of the names.

    A file follows the first rule whose pattern fits its name.

    Raises:
        DataError: if a file fits no rule, or a rule fits no file.
    """
    from medseg.io.volumes.image import IMAGE_SUFFIXES

    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with label files ({', '.join(IMAGE_SUFFIXES)})")
    names = {}
    for path in sorted(folder.iterdir()):
        suffix = next((ending for ending in IMAGE_SUFFIXES if path.name.lower().endswith(ending)), None)
        if path.is_file() and suffix is not None and not path.name.startswith("."):
            names[path] = path.name[: -len(suffix)]
    found: list[list[LayerFile]] = [[] for _ in rules]
    strange = []
    used = set()
    for path, name in names.items():
        number = next((n for n, rule in enumerate(rules) if fnmatchcase(name, rule.pattern)), None)
        if number is None:
            strange.append(path)
            continue
        used.add(number)
        values = rules[number].values
        if values is not None:
            found[number].append(LayerFile(path, number + 1, values))
    if strange:
        raise DataError(
            f"{shorten(strange, 4)}: no --map fits the name, expected one; add PATTERN=VALUES or PATTERN=skip"
        )
    missing = [rule.pattern for n, rule in enumerate(rules) if n not in used and rule.values is not None]
    if missing:
        raise DataError(
            f"{folder}: no label file fits --map {missing[0]!r}, expected at least one; correct the pattern"
        )
    layers = [item for items in found for item in items]
    if not layers:
        raise DataError(f"{folder}: no label file is left to be merged, expected at least one")
    return layers


def case_folders(root: Path) -> list[CaseFolder]:
    """The folders of a folder, one case each, sorted.

    Raises:
        DataError: if there is none.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one with a folder for every case")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DataError(f"{root}: holds no folder, expected one for every case; without --cases its files are one case")
    numbered = [f"case_{number:04d}" for number in range(1, len(folders) + 1)]
    names = [path.name if is_plain_name(path.name) else other for path, other in zip(folders, numbered, strict=True)]
    if len(set(names)) < len(names):
        names = numbered
    return [CaseFolder(name, path) for name, path in zip(names, folders, strict=True)]
