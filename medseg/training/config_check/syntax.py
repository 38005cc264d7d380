"""The syntax of expressions (``$...``): parsing, and what is refused by its form alone."""

from __future__ import annotations

import ast
import re
from typing import Any

from monai.bundle import ReferenceResolver

from medseg.training.config_check.findings import RefusedError, shown

__all__ = [
    "ALLOWED",
    "REFERENCES",
    "has_imports",
    "is_import",
    "literal_of",
    "loop_names",
    "parsed",
    "refuse_hidden",
    "refuse_hidden_text",
    "refuse_text",
    "shown_code",
    "words_of",
]

_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://")
_HIDDEN_NAME = re.compile(r"\b__\w+__\b|[.\[]_")
REFERENCES = "__local_refs"
"""The name that MONAI writes for references before it evaluates an expression."""

ALLOWED = (
    "imports, references, literals, arithmetic, comparisons, conditionals, subscripts, comprehensions, lambdas and "
    "calls of committed functions"
)
"""What an expression may consist of, in words."""


def is_import(text: str) -> bool:
    """Whether an expression (without its ``$``) holds an import statement.

    >>> is_import("import torch"), is_import("@important + 1")
    (True, False)
    """
    try:
        return has_imports(parsed(text))
    except RefusedError:
        return False


def has_imports(tree: ast.Module) -> bool:
    """Whether an import statement stands in it."""
    return any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)


def shown_code(node: ast.AST) -> str:
    """A part of an expression as text, shortened, with references as they were written."""
    text = re.sub(rf"{REFERENCES}\['([^']*)'\]", r"@\1", ast.unparse(node))
    return " ".join(text.split())[:60]


def literal_of(node: ast.expr) -> Any:
    """The value of a literal; an expression in the configuration's own form for everything else."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return f"${shown_code(node)}"


def words_of(node: ast.AST) -> str:
    """What a part of an expression is called."""
    names = {"namedexpr": "named value (:=)", "starred": "starred value (*)", "await": "await", "yield": "yield"}
    return names.get(type(node).__name__.lower(), type(node).__name__)


def parsed(text: str) -> ast.Module:
    """An expression or statement, parsed; references stand as any name in it.

    Raises:
        RefusedError: if it is no Python.
    """
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    try:  # a reference is no Python yet
        return ast.parse(re.sub(ReferenceResolver.id_matcher, "x", ReferenceResolver.normalize_id(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RefusedError(f"is no expression of Python ({getattr(error, 'msg', error)}); expected one value") from None


def refuse_text(text: str) -> None:
    """Raise `RefusedError` for a text with an address in a network."""
    found = _URL.search(text)
    if found:
        raise RefusedError(f"has the address {found[0]}...; expected a file of this machine: fetch it first")


def refuse_hidden_text(text: str) -> None:
    """Raise `RefusedError` for a text that could be used to reach a name that begins with ``_``."""
    if _HIDDEN_NAME.search(text):
        raise RefusedError(f"has the text {shown(text)}; expected no name that begins with _")


def refuse_hidden(name: str) -> None:
    """Raise `RefusedError` for a name that begins with ``_``."""
    if name.startswith("_"):
        raise RefusedError(f"has the name {name!r}; expected names that do not begin with _")


def loop_names(target: ast.expr) -> frozenset[str]:
    """The variables of a loop."""
    if not all(isinstance(node, ast.Name | ast.Tuple | ast.List | ast.expr_context) for node in ast.walk(target)):
        raise RefusedError(f"loops over {shown_code(target)}; expected plain names")
    names = frozenset(node.id for node in ast.walk(target) if isinstance(node, ast.Name))
    for name in names:
        refuse_hidden(name)
    return names
