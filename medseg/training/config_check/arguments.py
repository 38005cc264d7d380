"""The arguments of a target: they exist, none is missing, their types fit, and none of them loads code."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from medseg._arguments import type_fault
from medseg.training.config_check import committed
from medseg.training.config_check.findings import RefusedError, shown

__all__ = ["SPECIAL_KEYS", "check_arguments", "check_fixed_argument", "check_special_keys"]

SPECIAL_KEYS = ("_target_", "_disabled_", "_requires_", "_desc_", "_mode_")
"""Keys of a component that are no arguments."""

_CHECKED_DEFAULTS = ("allow_pickle", "download", "pretrained", "use_pretrained", "weights_only")


def check_special_keys(config: Mapping[str, Any]) -> None:
    """Raise `RefusedError` for a key that begins with ``_`` and is none of MONAI's, or another mode than two.

    MONAI's third mode starts a debugger.

    >>> check_special_keys({"_target_": "Compose", "_mode_": "debug"})
    Traceback (most recent call last):
        ...
    medseg.training.config_check.findings.RefusedError: has the _mode_ 'debug'; expected default or callable
    """
    for key in config:
        if str(key).startswith("_") and key not in SPECIAL_KEYS:
            near = difflib.get_close_matches(str(key), SPECIAL_KEYS, 1) or SPECIAL_KEYS
            raise RefusedError(f"has the key {key!r}; expected {' or '.join(near)}")
    mode = config.get("_mode_", "default")
    if mode not in ("default", "callable"):
        raise RefusedError(f"has the _mode_ {shown(mode)}; expected default or callable")
    disabled = config.get("_disabled_", False)
    if not isinstance(disabled, bool | str):
        raise RefusedError(f"has _disabled_ {shown(disabled)}; expected true, false or an expression")


def check_fixed_argument(name: str, value: Any) -> None:
    """Raise `RefusedError` for an argument of a name that may have some values only, such as ``weights_only``.

    Args:
        name: of the argument.
        value: a literal; ``...`` for one that is not known before the run.
    """
    if name not in committed.FIXED_ARGUMENTS:
        return
    allowed = committed.FIXED_ARGUMENTS[name]
    if not any(value is one for one in allowed):
        found = "an expression" if value is Ellipsis else shown(value)
        expected = " or ".join(map(repr, allowed)) if allowed else "no such argument"
        raise RefusedError(f"has the argument {name} = {found}; expected {expected}", name)


def check_arguments(
    target: Callable[..., Any], given: Mapping[str, Any], positional: int = 0, partial: bool = False
) -> None:
    """Raise `RefusedError` unless a target can be called with these arguments and none of them loads code.

    Args:
        target: a class or a function that is allowed.
        given: arguments by name. Texts that begin with ``$`` or ``@`` are not known before the run.
        positional: number of arguments that are given by their place.
        partial: whether further arguments follow at the call, so that none is missing.
    """
    for name, value in given.items():
        check_fixed_argument(name, Ellipsis if _is_open(value) else value)
        _check_named_loader(name, value)
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # functions of C have no signature
        return
    owner = getattr(target, "__name__", str(target))
    _check_names(owner, parameters, given)
    _check_places(owner, parameters, given, positional)
    if not partial:
        _check_complete(owner, parameters, given, positional)
    function = target.__init__ if inspect.isclass(target) else target
    for name, value in given.items():
        parameter = parameters.get(name)
        if parameter is None or parameter.default is value or _has_open(value):
            continue
        expected = type_fault(function, name, value)
        if expected is not None:
            raise RefusedError(f"has {name} = {shown(value)}; expected {expected}", name)


def _is_open(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("$", "@", "%"))


def _has_open(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value
    return any(map(_has_open, value)) if isinstance(value, list | tuple) else _is_open(value)


def _check_names(owner: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> None:
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    for name in given:
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, 1)
            expected = f"did you mean {near[0]!r}" if near else f"expected one of {', '.join(parameters)}"
            raise RefusedError(f"has the argument {name!r}, which {owner} does not have; {expected}", name)


def _check_places(
    owner: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any], positional: int
) -> None:
    for name in list(parameters)[:positional]:
        if name in committed.FIXED_ARGUMENTS or name in committed.NAMED_LOADERS:
            raise RefusedError(f"gives {name} of {owner} by its place; expected {name}=...")
    for name in _CHECKED_DEFAULTS:
        parameter = parameters.get(name)
        if parameter is None or name in given or parameter.default is inspect.Parameter.empty:
            continue
        if not any(parameter.default is one for one in committed.FIXED_ARGUMENTS[name]):
            wanted = committed.FIXED_ARGUMENTS[name][0]
            raise RefusedError(f"leaves {name} of {owner} at {parameter.default!r}; expected {wanted!r}", name)


def _check_complete(
    owner: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any], positional: int
) -> None:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for name, parameter in list(parameters.items())[positional:]:
        if parameter.kind not in variable and parameter.default is inspect.Parameter.empty and name not in given:
            raise RefusedError(f"lacks the argument {name!r} of {owner}")


def _check_named_loader(name: str, value: Any) -> None:
    allowed = committed.NAMED_LOADERS.get(name, ())
    if not allowed:
        return
    for one in value if isinstance(value, list | tuple) else [value]:
        if one is None or (isinstance(one, Mapping) and "_target_" in one):
            continue
        if one not in allowed:
            found = "an expression" if _is_open(one) else shown(one)
            expected = f"expected one of {', '.join(allowed)}"
            raise RefusedError(f"has {name} = {found}, which is loaded by its name; {expected}", name)
