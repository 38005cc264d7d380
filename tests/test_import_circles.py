"""No module imports itself by way of others, not even inside a function or for annotations only."""

from __future__ import annotations

import ast

import pytest

from tests.test_architecture import PACKAGES, module_name, sources

Graph = dict[str, dict[str, int]]

# Circles that are meant, with the reason.
ALLOWED = {
    "`Result.save` gives the result to its writer; writer and report name the type of the result in annotations only": [
        "medseg.inference.outputs.html",
        "medseg.inference.outputs.html.report",
        "medseg.inference.outputs.write",
        "medseg.inference.result",
    ],
}


def imports(name: str, is_package: bool, code: str, modules: set[str]) -> dict[str, int]:
    """The modules of the code base that a module imports anywhere in its code, with the line."""
    package = name.split(".") if is_package else name.split(".")[:-1]
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found.update({alias.name: node.lineno for alias in node.names if alias.name in modules})
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                target = f"{module}.{alias.name}" if f"{module}.{alias.name}" in modules else module
                if target in modules and target != name:
                    found[target] = node.lineno
    return found


def circles(graph: Graph) -> list[list[str]]:
    """Groups of modules that all reach each other (Tarjan, 1972), each as a sorted list."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for target in graph[module]:
            if target not in number:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in stack:
                lowest[module] = min(lowest[module], number[target])
        if lowest[module] == number[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return found


def described(graph: Graph, group: list[str]) -> str:
    """One line for each import inside a group."""
    return "\n".join(
        f"{module}:{line} imports {target}"
        for module in group
        for target, line in graph[module].items()
        if target in group
    )


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({"p.a": "import p.b", "p.b": "import p.c", "p.c": ""}, []),
        ({"p.a": "import p.b", "p.b": "def f():\n    from p import a"}, [["p.a", "p.b"]]),
        ({"p.a": "from .b import x", "p.b": "from p.c import x", "p.c": "from . import a"}, [["p.a", "p.b", "p.c"]]),
        ({"p": "from p.a import x", "p.a": "from p import y"}, [["p", "p.a"]]),
    ],
    ids=["a chain", "inside a function", "relative, of three", "a package and its module"],
)
def test_the_search_itself_finds_circles(codes: dict[str, str], expected: list[list[str]]) -> None:
    graph = {name: imports(name, name == "p", code, set(codes)) for name, code in codes.items()}
    assert circles(graph) == expected


def test_no_modules_import_each_other() -> None:
    paths = {module_name(path): path for path in sources(*PACKAGES)}
    graph = {
        name: imports(name, path.name == "__init__.py", path.read_text(encoding="utf-8"), set(paths))
        for name, path in paths.items()
    }
    found = circles(graph)
    unwanted = [group for group in found if group not in ALLOWED.values()]
    assert not unwanted, "\n\n".join(described(graph, group) for group in unwanted)
    assert all(group in found for group in ALLOWED.values()), "an allowed circle is gone; take it off the list"
