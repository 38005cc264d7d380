"""Checks of arguments that several transforms share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Any

__all__ = [
    "LEAST_FLOAT32",
    "MOST_FLOAT32",
    "check_in_order",
    "check_probability",
    "odd_window",
    "whole_number",
]

MOST_FLOAT32 = 1e30
"""Largest number of an argument whose result is float32: products and sums with it still fit."""
LEAST_FLOAT32 = 1e-30
"""Smallest positive number of such an argument."""
_MOST = 2**31 - 1


def check_probability(prob: float) -> float:
    """A probability, which MONAI's transforms do not check.

    Raises:
        ValueError: for a number outside 0 to 1.
    """
    if not 0 <= prob <= 1:
        raise ValueError(f"prob is {prob}, expected a probability from 0 to 1")
    return float(prob)


def check_in_order(name: str, values: Iterable[Any]) -> None:
    """Raises ValueError for a set: the channels of the result are in the order of the values, and a set has none."""
    if isinstance(values, Set):
        raise ValueError(f"{name} is a set, which has no order, expected a list: the channels are in its order")


def whole_number(name: str, value: Any, least: int | None = None, most: int = _MOST) -> int:
    """A whole number, also one that is given as a float such as 2.0, or as a text such as "2" (as keys in JSON).

    Args:
        name: name of the argument for the message.
        value: the number; its fraction is not cut off.
        least: smallest number allowed; None for any of 32 bits.
        most: largest number allowed.

    Raises:
        ValueError: for other numbers.
    """
    try:
        number = float(value)
        fits = number.is_integer() and (-_MOST - 1 if least is None else least) <= number <= most
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        span = "" if least is None else f" from {least}"
        span += "" if most == _MOST else f" to {most}"
        raise ValueError(f"{name} is {value!r}, expected a whole number{span}")
    return int(float(value))


def odd_window(window: int | Sequence[int]) -> int | tuple[int, ...]:
    """The checked size of a window: an odd number of voxels for all axes, or one per axis.

    Raises:
        ValueError: for other numbers.
    """
    sides = window if isinstance(window, Iterable) else (window,)
    found = tuple(whole_number("window", side, 1) for side in sides)
    if not found or not all(side % 2 for side in found):
        raise ValueError(f"window is {window}, expected an odd whole number of voxels, or one per axis")
    return found if isinstance(window, Iterable) else found[0]
