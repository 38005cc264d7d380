"""Keys that nothing reads, and values of another type than those that they replace."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from monai.bundle import ReferenceResolver
from monai.bundle.config_item import ConfigComponent
from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties
from monai.bundle.utils import ID_SEP_KEY

from medseg.training.config_check.expressions import Expressions
from medseg.training.config_check.findings import RefusedError, shown
from medseg.training.config_check.known import Instance
from medseg.training.config_check.load import Change, Loaded, walk

__all__ = ["check_key", "check_type", "references"]

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a mapping",
}
_PROPERTIES = (TrainProperties, InferProperties, MetaProperties)
_STANDARD = {property["id"] for properties in _PROPERTIES for property in properties.values()}
_STANDARD |= {"imports", "initialize", "run", "finalize", "bundle_root", "_meta_"}
_NEAR = 0.8


def references(loaded: Loaded) -> set[str]:
    """All ids that anything in the files refers to, also what an overlay replaced later."""
    found: set[str] = set()
    texts = [*loaded.texts, *(text for _, text in walk(loaded.parser.get()) if isinstance(text, str))]
    for text in texts:
        found |= set(ReferenceResolver.match_refs_pattern(text))
        if text.startswith("%"):
            found.add(ReferenceResolver.normalize_id(text[1:]))
    return found


def check_key(change: Change, loaded: Loaded, used: set[str], run_ids: Iterable[str]) -> None:
    """Raise `RefusedError` for a key that nothing reads.

    An option or an overlay may set what is there, what something refers to, what MONAI itself reads, and arguments of
    components. In the first file only a key that is nearly one of these is refused.
    """
    known = _STANDARD | set(run_ids)
    if change.existed or change.id in known or change.id.startswith("_") or _is_used(change.id, used):
        return
    parent, _, name = change.id.rpartition(ID_SEP_KEY)
    around = loaded.parser.get(parent, {}) if parent else loaded.parser.get()
    if ConfigComponent.is_instantiable(around) and name in around:
        return  # an argument: the check of arguments says whether there is one of this name
    names = {str(key) for key in around} - {name} if isinstance(around, dict) else set()
    ids = {f"{parent}{ID_SEP_KEY}{one}" if parent else one for one in names} | used | known
    near = difflib.get_close_matches(change.id, sorted(ids - {change.id, ""}), 1, _NEAR if not change.later else 0.6)
    if near:
        raise RefusedError(f"is a key that nothing reads; did you mean {near[0]}?")
    if change.later:
        raise RefusedError("is a key that nothing reads; expected one of the configuration: look for its name there")


def _is_used(id: str, used: set[str]) -> bool:
    """Whether something refers to an id, to a part of it, or to a part of the configuration that holds it.

    Whole sections, such as ``train``, do not count: somebody refers to them, but not to every key in them.
    """
    sections = {id.split(ID_SEP_KEY)[0], ""}
    below = (one == id or one.startswith(f"{id}{ID_SEP_KEY}") for one in used)
    above = (one not in sections and id.startswith(f"{one}{ID_SEP_KEY}") for one in used)
    return any(below) or any(above)


def check_type(change: Change, expressions: Expressions) -> None:
    """Raise `RefusedError` for a value of another type than the one that it replaces.

    Whole numbers may stand for numbers; expressions, references and macros for everything.
    """
    new, old = change.new, change.old
    if change.option and new is None and old is not None:
        raise RefusedError("is None, which MONAI leaves out as an option; expected null in an overlay file")
    if not change.later or not change.existed or new is None or _is_open(new):
        return
    kind = _kind(old, expressions)
    if kind is None or _fits(new, kind):
        if kind is list and isinstance(old, list):
            _check_elements(old, new)
        return
    words = _WORDS.get(kind, f"an expression that makes a {kind.__name__}, such as {old}")
    example = f", such as {shown(old)}" if kind in (bool, int, float, str, list) and not _is_open(old) else ""
    raise RefusedError(f"is {shown(new)}; expected {words}{example}")


def _is_open(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("$", "@", "%"))


def _kind(old: Any, expressions: Expressions) -> type | None:
    """The type that a value of a file has, if it is known before the run."""
    if old is None or (isinstance(old, str) and old.startswith("%")):
        return None
    if not _is_open(old):
        return type(old) if type(old) in _WORDS else None
    try:
        value = expressions.check(old[1:]) if old.startswith("$") else expressions.value_of(old[1:])
    except RefusedError:
        return None
    kind = value.kind if isinstance(value, Instance) else None
    if kind in _WORDS or (inspect.isclass(kind) and kind.__name__ == "device"):
        return kind
    return None


def _fits(new: Any, kind: type) -> bool:
    if isinstance(new, bool) or kind is bool:
        return isinstance(new, bool) and kind is bool
    return isinstance(new, int | float) if kind is float else isinstance(new, kind)


def _check_elements(old: list[Any], new: list[Any]) -> None:
    for kind in (bool, int, float, str):
        if old and all(_fits(one, kind) and not _is_open(one) for one in old):
            wrong = [one for one in new if not _is_open(one) and not _fits(one, kind)]
            if wrong:
                raise RefusedError(f"is {shown(new)}; expected a list such as {shown(old)}: {_WORDS[kind]} each")
            return
