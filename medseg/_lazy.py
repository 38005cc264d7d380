"""Public names of a package that are imported when they are first used, so that the package itself loads nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["lazy_exports"]


def lazy_exports(
    package: str, modules: Mapping[str, Sequence[str]], submodules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Args:
        package: the package's ``__name__``.
        modules: the public names that each module of the package defines.
        submodules: modules that are public names themselves.

    Returns:
        ``__getattr__``, which imports a name on its first use and keeps it, and ``__dir__``.

    >>> getter, lister = lazy_exports("medseg.metrics", {"overlap": ("dice_score",)})
    >>> round(getter("dice_score")([1, 0], [1, 1]), 3)
    0.667
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def find(name: str) -> Any:
        if name in submodules:
            return import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of, *submodules})

    return find, names
