"""Which objects a configuration may name: classes of committed kinds and committed functions, told by identity.

Nothing is instantiated or called here. Only modules of the committed packages are imported.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import pydoc
import sys
import warnings
from collections.abc import Iterable, Mapping
from enum import Enum
from types import ModuleType
from typing import Any

from monai.bundle.config_item import ComponentLocator, ConfigComponent

from medseg.training.config_check import committed
from medseg.training.config_check.findings import RefusedError, shown

__all__ = [
    "canonical_name",
    "check_object",
    "find_target",
    "is_function",
    "object_at",
    "refuse_by_name",
    "result_class",
]

_EXPECTED = "expected a class of medseg, monai, torch, ignite or pytorch_lightning, or a committed function"
_LISTED = "medseg/training/config_check/committed.py lists the functions that are"


def find_target(target: object, locator: ComponentLocator) -> Any:
    """The class or function that MONAI would take for a ``_target_``, if a configuration may name it.

    Args:
        target: the value of ``_target_``: a dotted path, or the short name of something in MONAI.
        locator: MONAI's, which finds short names.

    Raises:
        RefusedError: for everything else.

    >>> find_target("Compose", ComponentLocator()).__name__
    'Compose'
    """
    if not isinstance(target, str) or target.startswith(("$", "@")):
        raise RefusedError(f"_target_ is {shown(target)}; {_EXPECTED}, written as a dotted path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a short name exists twice: the run says it
        path = str(ConfigComponent({"_target_": target}, locator=locator).resolve_module_name())
    try:
        refuse_by_name(path)
        found = _locate(path)
        check_object(found)
    except RefusedError as refused:
        raise RefusedError(f"_target_ is {target!r}; {refused}") from None
    if not (inspect.isclass(found) or is_function(found)):
        raise RefusedError(f"_target_ is {target!r}, which is neither a class nor a function; {_EXPECTED}")
    return found


def _locate(path: str) -> Any:
    parts = path.split(".")
    if parts[0] not in committed.PACKAGES or any(part.startswith("_") or not part.isidentifier() for part in parts):
        raise RefusedError(_EXPECTED)
    try:
        found = pydoc.locate(path)
    except (Exception, SystemExit) as error:  # what the import of an optional part raises
        raise RefusedError(f"it cannot be imported here ({type(error).__name__}); install what it needs") from None
    if found is None:
        raise RefusedError(f"there is no such class or function{_near(parts)}; {_EXPECTED}")
    return found


def _near(parts: list[str]) -> str:
    module = sys.modules.get(".".join(parts[:-1]))
    names = [name for name in dir(module) if not name.startswith("_")] if module else []
    near = difflib.get_close_matches(parts[-1], names, 1)
    return f", did you mean {'.'.join(parts[:-1])}.{near[0]}" if near else ""


def refuse_by_name(path: str) -> None:
    """Raise `RefusedError` if a dotted path is, or lies below, one that is never allowed.

    >>> refuse_by_name("torch.hub.load")
    Traceback (most recent call last):
        ...
    medseg.training.config_check.findings.RefusedError: it is refused because torch.hub downloads code
    """
    for name, why in committed.REFUSED.items():
        if path == name or path.startswith(f"{name}."):
            raise RefusedError(f"it is refused because {name} {why}")


def check_object(found: Any) -> None:
    """Raise `RefusedError` unless an object is a class of a committed kind, a committed function, or a plain constant.

    >>> import os, torch
    >>> check_object(torch.nn.Linear), check_object(torch.float32)
    (None, None)
    >>> check_object(os.system)
    Traceback (most recent call last):
        ...
    medseg.training.config_check.findings.RefusedError: posix.system is not a committed function; ...
    """
    if is_function(found):
        return
    if inspect.isclass(found):
        _check_class(found)
    elif isinstance(found, ModuleType):
        raise RefusedError(f"{found.__name__} is a module; expected something in it")
    elif callable(found):
        name = canonical_name(found)
        refuse_by_name(name)
        _refuse_same(found)
        raise RefusedError(f"{name} is not a committed function; {_LISTED}")
    elif not _is_constant(found):
        raise RefusedError(f"an object of {canonical_name(type(found))} is no constant")


def canonical_name(found: Any) -> str:
    """Where an object was defined: module and name."""
    return f"{getattr(found, '__module__', None) or '?'}.{getattr(found, '__qualname__', type(found).__name__)}"


def _refuse_same(found: Any) -> None:
    """Say why, for a function that is known under another name."""
    for path, why in committed.REFUSED.items():
        module, _, name = path.rpartition(".")
        if module in sys.modules and getattr(sys.modules[module], name, None) is found:
            raise RefusedError(f"it is refused because {path} {why}")


def _is_constant(found: object) -> bool:
    import torch

    plain = (int, float, str, bool, type(None), Enum, torch.dtype, torch.device, torch.memory_format)
    return isinstance(found, plain)


def _check_class(cls: type) -> None:
    import numpy as np

    extra = cls in _classes(committed.CALLABLE_CLASSES) or issubclass(cls, np.generic | Enum)
    if extra and cls.__module__.split(".")[0] in (*committed.PACKAGES, "numpy"):
        return
    name = canonical_name(cls)
    if cls.__module__.split(".")[0] not in committed.PACKAGES or not _is_what_its_name_says(cls):
        raise RefusedError(f"{name} is a class of another package; {_EXPECTED}")
    for base in cls.__mro__:
        refuse_by_name(canonical_name(base))
    if not _inside(cls.__module__, committed.CLASS_MODULES) or not _is_of_a_kind(cls):
        raise RefusedError(
            f"{name} is not one of the committed kinds: Module, Dataset, DataLoader, Sampler, Transform, loss, "
            "Optimizer, scheduler, Metric, Inferer, handler, engine or Lightning class"
        )


def _inside(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def _is_what_its_name_says(cls: type) -> bool:
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


def _is_of_a_kind(cls: type) -> bool:
    if any(issubclass(cls, kind) for kind in _classes(committed.KINDS)):
        return True
    return _inside(cls.__module__, committed.HANDLER_MODULES) and callable(getattr(cls, "attach", None))


def _classes(paths: Iterable[str]) -> list[type]:
    found = [object_at(path) for path in paths]
    return [cls for cls in found if inspect.isclass(cls)]


def object_at(path: str) -> Any:
    """The object at a committed path, or None where its library is not installed.

    Lightning is slow to import: it is looked at only if something imported it already.
    """
    if path.startswith("pytorch_lightning") and "pytorch_lightning" not in sys.modules:
        return None
    return _imported(path)


@functools.cache
def _imported(path: str) -> Any:
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        try:
            return functools.reduce(getattr, parts[length:], found)
        except AttributeError:
            return None
    return None


@functools.cache
def _functions() -> Mapping[int, tuple[Any, str | None]]:
    """Committed functions by their identity; the objects are kept, so an identity belongs to no other."""
    import builtins

    rows = [(object_at(path), result) for path, result in committed.FUNCTIONS.items()]
    rows += [(getattr(builtins, name), result) for name, result in committed.BUILTINS.items()]
    return {id(found): (found, result) for found, result in rows if found is not None}


def is_function(found: Any) -> bool:
    """Whether an object is on the committed list of functions (or of built-in functions of Python)."""
    return id(found) in _functions()


def result_class(found: Any) -> type | None:
    """The class of what a committed function returns, where the list has it."""
    import builtins

    name = _functions()[id(found)][1]
    if name is None:
        return None
    result = object_at(name) if "." in name else getattr(builtins, name)
    return result if inspect.isclass(result) else None
