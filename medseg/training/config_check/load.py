"""Configuration files, merged and overridden as MONAI does it, without instantiating or evaluating anything."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ReferenceResolver
from monai.bundle.config_item import ConfigItem
from monai.bundle.utils import merge_kv

from medseg.training.config_check.findings import Finding, RefusedError, shown

__all__ = ["Change", "Loaded", "bundle_folder", "load", "strings", "walk"]

_META = "_meta_"
_SEPARATOR = "::"


@dataclass(frozen=True)
class Change:
    """A key that a file or an option sets.

    Attributes:
        place: the file or the option.
        id: the id, without the ``+`` that merges.
        new: the value.
        old: the value before, or None.
        existed: whether the id was there before.
        later: whether it changes a configuration that was there, as an overlay and an option do.
        option: whether it is an option of the command line.
    """

    place: str
    id: str
    new: Any
    old: Any
    existed: bool
    later: bool
    option: bool


@dataclass
class Loaded:
    """A configuration as MONAI sees it before it instantiates anything.

    Attributes:
        parser: with the merged configuration, macros and relative ids replaced.
        changes: what every file and option sets, in their order.
        findings: what could not be read or merged.
        texts: all texts of the files and options before they were merged.
        wrong: ids whose own value has a finding, so that what refers to them is not reported again.
    """

    parser: ConfigParser = field(default_factory=lambda: ConfigParser())
    changes: list[Change] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)

    @property
    def items(self) -> Mapping[str, ConfigItem]:
        """All items by id."""
        return self.parser.ref_resolver.items

    def place_of(self, id: str) -> str:
        """The file or option that set an id last."""
        found = "configuration"
        for change in self.changes:
            if id == change.id or id.startswith(f"{change.id}{_SEPARATOR}"):
                found = change.place
        return found


def bundle_folder(file: str | Path) -> Path:
    """The folder of the bundle that a configuration belongs to: above ``configs``, or the file's own.

    >>> bundle_folder("bundles/lits_liver_segmentation/configs/train.json").name
    'lits_liver_segmentation'
    """
    parent = Path(file).parent
    return parent.parent if parent.name == "configs" else parent


def load(files: Sequence[str], overrides: Mapping[str, Any], meta_file: str | None = None) -> Loaded:
    """Read, merge and override, in MONAI's order; nothing is instantiated.

    Args:
        files: JSON or YAML, later ones over earlier ones.
        overrides: values by id.
        meta_file: instead of ``metadata.json`` beside the first file.
    """
    loaded = Loaded()
    for number, file in enumerate(files):
        for key, value in _read(file, loaded).items():
            _set(loaded, file, str(key), value, later=number > 0)
    _read_meta(files[0], meta_file, loaded)
    for key, value in overrides.items():
        _set(loaded, f"--{key}", key, value, later=True, option=True)
    try:
        _replace_macros(loaded, bundle_folder(files[0]))
    except RefusedError as refused:
        loaded.findings.append(Finding(files[0], "", str(refused)))
    return loaded


def _read(file: str, loaded: Loaded) -> Mapping[str, Any]:
    """The content of a file; what is wrong with it becomes a finding."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Duplicate key")
            content = ConfigParser.load_config_file(file)
    except FileNotFoundError:
        problem = "no such file; check its path"
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); check the file"
    except Exception as error:
        problem = f"is no configuration ({' '.join(str(error).split())}); expected JSON or YAML without repeated keys"
    else:
        if isinstance(content, dict):
            return content
        problem = f"holds {shown(content)}; expected keys and values"
    loaded.findings.append(Finding(file, "", problem))
    return {}


def _read_meta(first: str, meta_file: str | None, loaded: Loaded) -> None:
    path = Path(first).parent / "metadata.json" if meta_file is None else Path(meta_file)
    if meta_file is not None or path.is_file():
        content = _read(str(path), loaded)
        loaded.parser.set(dict(content), _META)
        loaded.texts += strings(content)
        loaded.changes.append(Change(str(path), _META, content, None, True, False, False))


def _set(loaded: Loaded, place: str, key: str, value: Any, later: bool, option: bool = False) -> None:
    parser = loaded.parser
    merges = key.startswith("+")
    id = ReferenceResolver.normalize_id(key[1:] if merges else key)
    loaded.texts += strings(value)
    if option and (merges or not id):
        loaded.findings.append(Finding(place, id, "begins with +, which options cannot; expected an overlay file"))
        return
    existed = id in parser
    old = deepcopy(parser[id]) if existed else None
    loaded.changes.append(Change(place, id, value, old, existed, later, option))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            merge_kv(parser, f"+{id}" if merges else id, deepcopy(value))
    except (KeyError, ValueError, IndexError, TypeError):
        if existed or merges:
            text = f"is {shown(value)}; expected a list or a mapping to add to the one that is there"
            loaded.findings.append(Finding(place, id, text))
        # a key below nothing is found by the check of keys


def _replace_macros(loaded: Loaded, folder: Path) -> None:
    """Replace macros and relative ids as often as MONAI does, reading files of the bundle only."""
    for _ in range(3):  # MONAI parses once or more before it evaluates the first expression
        before = deepcopy(loaded.parser.get())
        for id, text in walk(before):
            if isinstance(text, str) and text.startswith("%"):
                _check_macro(id, text, folder)
        try:
            loaded.parser.parse(reset=True)
        except Exception as error:
            reason = " ".join(str(error.args[0] if error.args else error).split())
            raise RefusedError(f"has a macro (%) or a relative id that leads nowhere: {reason}") from None
        if loaded.parser.get() == before:
            return
    raise RefusedError("has macros (%) within macros; expected the value itself")


def _check_macro(id: str, text: str, folder: Path) -> None:
    path, _ = ConfigParser.split_path_id(text[1:])
    if path and not Path(path).resolve().is_relative_to(folder.resolve()):
        raise RefusedError(f"{id} reads {path!r}; expected a file inside the bundle folder {folder}: copy it there")


def walk(config: Any, id: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a configuration with its id, the inner ones first."""
    if isinstance(config, dict | list):
        for _, sub_id, value in ReferenceResolver.iter_subconfigs(id, config):
            yield from walk(value, sub_id)
    yield id, config


def strings(config: Any) -> list[str]:
    """All texts of a configuration, keys left out."""
    return [value for _, value in walk(config) if isinstance(value, str)]
