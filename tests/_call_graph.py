"""Which functions and texts of the package a function can reach, read from the sources alone.

The graph errs on the side of reaching too much: a method is reached by its name wherever its class is reached, and a
function by any mention of it. Imports inside functions and lazy exports of packages count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

__all__ = ["CallGraph", "Text"]

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Text(NamedTuple):
    """A text of the sources; parts of it that are known only at run time stand as ``{}``."""

    value: str
    place: str


@dataclass
class _Node:
    """A function, a method, a class without its methods, or a constant of a module."""

    module: str
    tree: ast.AST
    methods: dict[str, str] = field(default_factory=dict)


class CallGraph:
    """All modules under some packages.

    Args:
        root: folder that holds the packages.
        packages: their names.
    """

    def __init__(self, root: Path, *packages: str) -> None:
        self.modules: dict[str, ast.Module] = {}
        self.paths: dict[str, Path] = {}
        for package in packages:
            for path in sorted((root / package).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                self.modules[name] = ast.parse(path.read_text(encoding="utf-8"))
                self.paths[name] = path
        self.nodes: dict[str, _Node] = {}
        self.names: dict[str, dict[str, str]] = {name: {} for name in self.modules}
        for name, tree in self.modules.items():
            for statement in tree.body:
                self._define(name, statement)

    def texts(self, *roots: str) -> list[Text]:
        """All texts, but docstrings, of what the roots reach.

        Args:
            roots: functions, as ``package.module.function``.
        """
        found = []
        for key in sorted(self.reached(*roots)):
            node = self.nodes[key]
            where = self.paths[node.module].name
            found += [Text(value, f"{where}:{line}") for value, line in _texts_of(node.tree)]
        return found

    def reached(self, *roots: str) -> set[str]:
        """Keys of all nodes that the roots reach, themselves included."""
        reached: set[str] = set()
        wanted: set[str] = set()  # attributes that were mentioned anywhere
        classes: list[_Node] = []
        pending = [root for root in roots if root in self.nodes]
        assert len(pending) == len(roots), f"unknown: {set(roots) - set(pending)}"
        while pending:
            key = pending.pop()
            if key in reached:
                continue
            reached.add(key)
            node = self.nodes[key]
            targets, attributes = self._mentions(node)
            pending += targets
            if node.methods:
                classes.append(node)
                pending += [method for name, method in node.methods.items() if name in wanted or name.startswith("__")]
            for name in attributes - wanted:
                pending += [cls.methods[name] for cls in classes if name in cls.methods]
            wanted |= attributes
        return reached

    def _define(self, module: str, statement: ast.stmt) -> None:
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for inner in ast.iter_child_nodes(statement):
                if isinstance(inner, ast.stmt):
                    self._define(module, inner)
        elif isinstance(statement, _Function):
            self._add(module, statement.name, statement)
        elif isinstance(statement, ast.ClassDef):
            body = [part for part in statement.body if not isinstance(part, _Function)]
            shell = ast.ClassDef(statement.name, statement.bases, statement.keywords, body, statement.decorator_list)
            node = self._add(module, statement.name, shell)
            for part in statement.body:
                if isinstance(part, _Function):
                    key = f"{module}.{statement.name}.{part.name}"
                    self.nodes[key] = _Node(module, part)
                    node.methods[part.name] = key
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        self._add(module, name.id, statement.value)

    def _add(self, module: str, name: str, tree: ast.AST) -> _Node:
        key = f"{module}.{name}"
        self.nodes[key] = _Node(module, tree)
        self.names[module][name] = key
        return self.nodes[key]

    @cached_property
    def _imports(self) -> dict[str, dict[str, str]]:
        """For every module: the names that any import in it binds, also inside functions, and what they stand for."""
        bound: dict[str, dict[str, str]] = {}
        for module, tree in self.modules.items():
            bound[module] = {}
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        bound[module][alias.asname or alias.name.partition(".")[0]] = alias.name
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    for alias in node.names:
                        bound[module][alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return bound

    def _mentions(self, node: _Node) -> tuple[list[str], set[str]]:
        """Nodes that a node mentions, and names of attributes that it looks up."""
        targets: list[str] = []
        attributes: set[str] = set()
        for part in ast.walk(node.tree):
            if isinstance(part, ast.Name):
                targets += self._resolve(node.module, part.id)
            elif isinstance(part, ast.Attribute):
                attributes.add(part.attr)
                if isinstance(part.value, ast.Name):
                    owner = self._imports[node.module].get(part.value.id, "")
                    targets += self._lookup(f"{owner}.{part.attr}") if owner in self.modules else []
        return targets, attributes

    def _resolve(self, module: str, name: str) -> list[str]:
        own = self.names[module].get(name)
        if own is not None:
            return [own]
        target = self._imports[module].get(name)
        return [] if target is None else self._lookup(target)

    def _lookup(self, dotted: str) -> list[str]:
        """The nodes of a dotted name; for a name that a package exports lazily, wherever it is defined below it."""
        if dotted in self.nodes:
            return [dotted]
        package, _, name = dotted.rpartition(".")
        if package not in self.modules:
            return []
        again = self._imports[package].get(name)
        if again is not None and again != dotted:
            return self._lookup(again)
        return [self.names[m][name] for m in self.modules if m.startswith(f"{package}.") and name in self.names[m]]


def _texts_of(tree: ast.AST) -> Iterator[tuple[str, int]]:
    docstrings = set()
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, _Function | ast.ClassDef) and node.body and isinstance(node.body[0], ast.Expr):
            docstrings.add(id(node.body[0].value))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else _choices(part) for part in node.values]
            inside |= {id(part) for part in node.values}
            yield "".join(parts), node.lineno
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            yield node.value, node.lineno


def _choices(part: ast.AST) -> str:
    """What stands for a value in a text: the texts that it can be, if they are written there."""
    return "{}"
