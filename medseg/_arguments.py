"""Types of the arguments of constructors, checked against their annotations before anything is made of them."""

from __future__ import annotations

import functools
import inspect
import math
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, TypeVar

__all__ = ["checked_arguments", "finite_number", "type_fault"]

_PLAIN: dict[str, Any] = {
    **{kind.__name__: kind for kind in (int, float, bool, str, Path, list, tuple)},
    "None": None,
    "Sequence": Sequence,
    "Mapping": Mapping,
}
Class = TypeVar("Class", bound=type)
_CHECKED = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}


def checked_arguments(cls: Class) -> Class:
    """A class whose constructor refuses arguments of a type that their annotations do not allow.

    Numbers, truth values, texts, paths, sequences of them and mappings are checked, also within unions; what has
    another annotation is left to the class. A whole number may be given as a float such as 2.0 or as a scalar of
    NumPy; true and false are not numbers. Ranges are left to the class too. Write it above the class.

    Raises:
        ValueError: when the class is called: one line ``CLASS: NAME is VALUE; expected ...``.

    >>> @checked_arguments
    ... class Blur:
    ...     def __init__(self, radius: int, sigma: float | None = None) -> None:
    ...         self.radius = radius
    >>> Blur(2.0).radius
    2
    >>> Blur("2")
    Traceback (most recent call last):
        ...
    ValueError: Blur: radius is '2'; expected a whole number
    """
    made = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(made)

    @functools.wraps(made)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:  # a missing or unknown argument: Python names it itself
            return made(self, *args, **kwargs)
        for name, hint in _hints(made).items():
            if name in bound.arguments and signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = _checked(type(self).__name__, name, bound.arguments[name], hint)
        return made(*bound.args, **bound.kwargs)

    cls.__init__ = checked  # type: ignore[misc]
    return cls


def finite_number(owner: str, name: str, value: float, least: float = -math.inf, most: float = math.inf) -> float:
    """A number that is neither NaN nor infinite, within a range.

    Raises:
        ValueError: for another one, in the same words as `checked_arguments`.

    >>> finite_number("Blur", "sigma", 2, least=0)
    2.0
    >>> finite_number("Blur", "sigma", math.nan, least=0)
    Traceback (most recent call last):
        ...
    ValueError: Blur: sigma is nan; expected a finite number from 0
    """
    if not (math.isfinite(value) and least <= value <= most):
        span = "" if least == -math.inf else f" from {least:g}"
        span += "" if most == math.inf else f" to {most:g}"
        raise ValueError(f"{owner}: {name} is {value!r}; expected a finite number{span}")
    return float(value)


def type_fault(function: Callable[..., Any], name: str, value: Any) -> str | None:
    """What an argument should have been, if its annotation does not allow the value; None if it does.

    Args:
        function: the function, or the constructor of a class.
        name: of the argument. One without an annotation of plain types is left alone.
        value: what is to be given.

    >>> def blur(image: str, radius: int) -> None: ...
    >>> type_fault(blur, "radius", "2"), type_fault(blur, "radius", 2)
    ('a whole number', None)
    """
    hint = _hints(function).get(name, Any)
    if hint is Any or _fits(value, hint)[0]:
        return None
    return " or ".join(dict.fromkeys(_words(hint)))


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of plain types; a class has words of its own for what has a name of its own."""
    texts = {
        name: hint
        for name, hint in function.__annotations__.items()
        if isinstance(hint, str) and name != "return" and set(re.findall(r"\w+", hint)) <= set(_PLAIN)
    }
    return typing.get_type_hints(SimpleNamespace(__annotations__=texts), _PLAIN)


def _checked(owner: str, name: str, value: Any, hint: Any) -> Any:
    fits, value = _fits(value, hint)
    if not fits:
        shown = repr(value) if len(repr(value)) <= 80 and "\n" not in repr(value) else f"a {type(value).__name__}"
        raise ValueError(f"{owner}: {name} is {shown}; expected {' or '.join(dict.fromkeys(_words(hint)))}")
    return value


def _fits(value: Any, hint: Any) -> tuple[bool, Any]:
    """Whether the value is of the annotated type, and the value: whole floats become whole numbers."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        found = [_fits(value, option) for option in inner]
        return next((result for result in found if result[0]), (False, value))
    if origin is Sequence or origin in (list, tuple):
        return _sequence_fits(value, inner)
    if origin is Mapping or hint is Mapping:
        return isinstance(value, Mapping), value
    return _scalar_fits(value, hint)


def _sequence_fits(value: Any, inner: tuple[Any, ...]) -> tuple[bool, Any]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable) or not isinstance(value, Sized):
        return False, value
    of = inner[0] if inner else Any
    if len(inner) > 1 and inner[1:] != (...,):  # a tuple of mixed types: left to the class
        return True, value
    found = [_fits(item, of) for item in value]
    changed = isinstance(value, list | tuple) and any(a is not b for (_, a), b in zip(found, value, strict=True))
    if changed:
        value = (tuple if isinstance(value, tuple) else list)(item for _, item in found)
    return all(fits for fits, _ in found), value


def _scalar_fits(value: Any, hint: Any) -> tuple[bool, Any]:
    if hint in (None, NoneType):
        return value is None, value
    if hint is bool:
        # NumPy's own truth value is called bool_ or bool, as its release has it.
        return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"), value
    if hint is str:
        return isinstance(value, str), value
    if hint is Path:
        return isinstance(value, Path), value
    if hint not in (int, float):
        return True, value
    if isinstance(value, bool) or not isinstance(value, Real) or type(value).__module__ == "torch":
        return False, value
    if hint is float:
        return True, value
    if isinstance(value, Integral):
        return True, int(value)
    whole = math.isfinite(value) and float(value).is_integer()
    return whole, int(float(value)) if whole else value


def _words(hint: Any) -> list[str]:
    """What the annotation allows, in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        return [word for option in inner for word in _words(option)]
    if origin is Sequence or origin in (list, tuple):
        kinds = {"a whole number": "whole numbers", "a number": "numbers", "a text": "texts"}
        words = dict.fromkeys(kinds.get(word, "values") for word in (_words(inner[0]) if inner else ["values"]))
        return [f"a list of {' or '.join(words)}"]
    if origin is Mapping or hint is Mapping:
        return ["a mapping"]
    if hint in (None, NoneType):
        return ["None"]
    return [_CHECKED.get(hint, "another value")]
