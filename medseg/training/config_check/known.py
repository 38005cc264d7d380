"""What is known about a value of an expression before the run: objects of modules, and classes of objects."""

from __future__ import annotations

import ast
import importlib
import inspect
from enum import Enum
from types import ModuleType
from typing import Any, NamedTuple

from medseg.training.config_check import committed
from medseg.training.config_check.findings import RefusedError
from medseg.training.config_check.targets import canonical_name, check_object, object_at, refuse_by_name

__all__ = [
    *("Anything", "Instance", "Known", "Value"),
    *("attribute_of", "check_attribute", "import_of", "is_committed_method"),
]


class Known(NamedTuple):
    """An expression whose value is this object: a module, a class, a function or a constant of a module."""

    object: Any


class Instance(NamedTuple):
    """An expression whose value is an object of this class."""

    kind: type


class Anything:
    """The class of a value that has a finding of its own: what is done with it is not reported again."""


Value = Known | Instance | None
"""What is known about a value before the run; None for nothing."""


def import_of(statement: ast.Import | ast.ImportFrom, path: str) -> Any:
    """The object that an import statement binds.

    Args:
        statement: of one name.
        path: what it imports, as a dotted path.

    Raises:
        RefusedError: if its module is not committed, or the object is none that a configuration may name.
    """
    module = path if isinstance(statement, ast.Import) else str(statement.module)
    refuse_by_name(path)
    if module not in committed.MODULES and module.split(".")[0] not in committed.PACKAGES:
        raise RefusedError(
            f"imports {path!r}; expected a module of {', '.join(committed.PACKAGES)}, numpy, math, os or glob"
        )
    try:
        found: Any = importlib.import_module(module)
        if isinstance(statement, ast.ImportFrom):
            found = getattr(found, statement.names[0].name)
    except Exception:  # optional parts of libraries raise what they like
        raise RefusedError(f"imports {path!r}, which is not there; check its name") from None
    if isinstance(found, ModuleType):
        _check_module(found)
    else:
        check_object(found)
    return found


def _check_module(module: ModuleType) -> None:
    refuse_by_name(module.__name__)
    if module.__name__ not in committed.MODULES and module.__name__.split(".")[0] not in committed.PACKAGES:
        raise RefusedError(f"reaches the module {module.__name__}, which is not committed")


def attribute_of(owner: Any, name: str) -> Known:
    """What an attribute of a module or a class is; `RefusedError` if it leads to what is not committed."""
    if isinstance(owner, ModuleType):
        _check_module(owner)
        refuse_by_name(f"{owner.__name__}.{name}")
    elif isinstance(owner, Enum) and name in ("name", "value"):
        return Known(getattr(owner, name))
    elif not inspect.isclass(owner):
        raise RefusedError(f"reads {name!r} of {canonical_name(owner)}; expected something of a module")
    try:
        found = getattr(owner, name) if isinstance(owner, ModuleType) else inspect.getattr_static(owner, name)
    except Exception:  # whatever a lazy module raises: what cannot be looked at is refused
        raise RefusedError(
            f"reads {name!r} of {getattr(owner, '__name__', owner)}, which has nothing of this name"
        ) from None
    if isinstance(found, ModuleType):
        _check_module(found)
    return Known(found)


def check_attribute(kind: type, name: str) -> None:
    """Raise `RefusedError` for an attribute of an object of a class, if it is a method that is not committed."""
    found = inspect.getattr_static(kind, name, None)
    method = callable(found) or isinstance(found, classmethod | staticmethod)
    of_an_object = found is None and not issubclass(kind, str | list | dict)
    if (method or (found is None and not of_an_object)) and not is_committed_method(kind, name):
        raise RefusedError(f"has the method {kind.__name__}.{name}, which is not committed")


def is_committed_method(kind: type, name: str) -> bool:
    """Whether an expression may call a method of objects of a class."""
    if kind is Anything:
        return True
    for owner, methods in committed.METHODS.items():
        cls = object_at(owner) if "." in owner else {"str": str, "list": list, "dict": dict}[owner]
        if inspect.isclass(cls) and issubclass(kind, cls) and name in methods:
            return True
    return False
