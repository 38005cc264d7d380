"""What a check found: one line each, with the file, the id, the value found, the value expected and the remedy."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Finding", "RefusedError", "shown"]


class RefusedError(Exception):
    """A part of a configuration is refused; the message says what was found and what was expected.

    Args:
        text: the message.
        part: the argument of a component that it is about.
    """

    def __init__(self, text: str, part: str = "") -> None:
        super().__init__(text)
        self.part = part


class Finding(NamedTuple):
    """One thing that is wrong with a configuration.

    Attributes:
        place: the file, or the option, that the value comes from.
        id: where in the configuration it stands, such as ``train::trainer::amp``.
        text: the value found, the value expected, the remedy.

    >>> print(Finding("train.json", "epochs", "is 'ten'; expected a whole number, such as 10"))
    train.json: epochs is 'ten'; expected a whole number, such as 10
    """

    place: str
    id: str
    text: str

    def __str__(self) -> str:
        line = " ".join(f"{self.place}: {self.id} {self.text}".split())
        return "".join(sign if sign.isprintable() else "?" for sign in line)  # a key could hold codes of a terminal


def shown(value: object, limit: int = 80) -> str:
    """A value as it is printed in one line, shortened.

    >>> shown("a" * 100, limit=10)
    "'aaaaaa..."
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
