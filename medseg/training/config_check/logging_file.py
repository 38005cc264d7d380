"""A logging configuration names handlers by class and evaluates their arguments: only plain ones are allowed."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

from medseg.training.config_check.findings import RefusedError, shown

__all__ = ["check_logging_file"]

_HANDLERS = (
    *("StreamHandler", "FileHandler", "NullHandler"),
    *("handlers.RotatingFileHandler", "handlers.TimedRotatingFileHandler"),
)
_STREAMS = ("sys.stdout", "sys.stderr")


def check_logging_file(path: str | Path) -> None:
    """Raise `RefusedError` unless a file for ``logging.config`` uses plain handlers with literal arguments.

    >>> _ = Path("logging.conf").write_text("[handler_a]\\nclass=StreamHandler\\nargs=(sys.stdout,)\\n")
    >>> check_logging_file("logging.conf")
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise RefusedError(f"cannot be read as a logging configuration ({type(error).__name__}); check it") from None
    for section in parser.sections():
        kind = parser.get(section, "class", fallback="").strip().removeprefix("logging.")
        if kind and kind not in _HANDLERS:
            raise RefusedError(f"has class={kind!r} in [{section}]; expected one of {', '.join(_HANDLERS)}")
        for name in ("args", "kwargs"):
            value = parser.get(section, name, fallback="").strip()
            if value and not _is_literal(value):
                raise RefusedError(f"has {name}={shown(value)} in [{section}]; expected literals or sys.stdout")


def _is_literal(text: str) -> bool:
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return False
    return all(_is_plain(node) for node in ast.walk(tree))


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return ast.unparse(node) in _STREAMS
    if isinstance(node, ast.Name):
        return node.id == "sys"
    return isinstance(node, ast.Expression | ast.Tuple | ast.Dict | ast.List | ast.Constant | ast.Load)
