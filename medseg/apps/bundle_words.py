"""Words of a command line for a bundle's configuration: keys and their values, read and printed."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["bundle_command", "parse_value", "printed_value", "split_keys"]


def split_keys(words: Iterable[str], options: Collection[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Words of the command itself, and the keys of the configuration with their values as text.

    Args:
        words: as they were typed.
        options: options of the command itself; they have no values.

    Raises:
        ValueError: for a key without a value.

    >>> split_keys(["a.json", "--epochs", "5", "b.json", "--dry-run", "--lr=0.1"], ["--dry-run"])
    (['a.json', 'b.json', '--dry-run'], [('epochs', '5'), ('lr', '0.1')])
    """
    own, keys = [], []
    rest = iter(words)
    for word in rest:
        if not word.startswith("--") or word in options:
            own.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            following = next(rest, None)
            if following is None or following.startswith("--"):
                raise ValueError(f"{word} has no value; expected {word} VALUE, such as {word} true")
            value = following
        keys.append((name, value))
    return own, keys


def parse_value(text: str) -> Any:
    """The value of a key: JSON, or a literal of Python, or else the text itself.

    Raises:
        ValueError: for a list or mapping that is neither.

    >>> parse_value("true"), parse_value("[64, 64]"), parse_value("['a.nii']"), parse_value("$torch.device('cpu')")
    (True, [64, 64], ['a.nii'], "$torch.device('cpu')")
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        pass
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if text.lstrip()[:1] in ("[", "(") or re.match(r"\s*\{\s*[\"'}]", text):
            raise ValueError(f"{text!r} is no list or mapping; expected JSON, such as '[64, 64, 64]'") from None
        return text
    return list(value) if isinstance(value, tuple) else value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def printed_value(value: Any) -> str:
    """A value as ``python -m monai.bundle`` reads it from its command line.

    >>> printed_value(True), printed_value("data/liver"), printed_value("5"), printed_value([1.0, None])
    ('True', 'data/liver', "'5'", '[1.0, None]')
    """
    if not isinstance(value, str):
        return repr(value)
    if not re.fullmatch(r"[\w./][\w./-]*", value):
        return repr(value)
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    return repr(value)


def bundle_command(files: Sequence[str], keys: Mapping[str, Any]) -> str:
    """The ``python -m monai.bundle run`` command with the same files and keys, quoted for a shell.

    >>> bundle_command(["train.json"], {"epochs": 5})
    'python -m monai.bundle run --config_file train.json --epochs 5'
    """
    config = printed_value(files[0] if len(files) == 1 else list(files))
    words = ["python", "-m", "monai.bundle", "run", "--config_file", config]
    for key, value in keys.items():
        printed = printed_value(value)
        words += [f"--{key}={printed}"] if printed.startswith("-") else [f"--{key}", printed]
    return shlex.join(words)
