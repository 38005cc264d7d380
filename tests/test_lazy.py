"""Packages that export lazily: the lists of names agree, and nothing heavy is loaded before a name is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAZY = sorted(
    ".".join(path.relative_to(ROOT).parent.parts)
    for path in (ROOT / "medseg").rglob("__init__.py")
    if "lazy_exports" in path.read_text(encoding="utf-8")
)


def names_for_type_checkers(package: str) -> set[str]:
    """What a package imports below ``if TYPE_CHECKING``."""
    path = ROOT.joinpath(*package.split("."), "__init__.py")
    guarded = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.If)]
    imports = [node for block in guarded for node in ast.walk(block) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names}


def test_the_rooms_of_users_are_lazy() -> None:
    assert {"medseg.datasets", "medseg.inference", "medseg.training"} <= set(LAZY)


@pytest.mark.parametrize("package", LAZY)
def test_public_names_are_known_to_type_checkers_and_can_be_imported(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)) == module.__all__
    assert names_for_type_checkers(package) == set(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is getattr(module, name)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'no_such_name'"):
        _ = module.no_such_name


@pytest.mark.parametrize("package", LAZY)
def test_importing_the_package_loads_no_library(package: str) -> None:
    code = f"import sys, {package}; print(sorted({{'torch', 'monai', 'numpy', 'matplotlib'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_function_is_not_hidden_by_a_module_of_its_package() -> None:
    import medseg.inference.segment_case
    from medseg.inference import segment

    assert medseg.inference.segment is segment is medseg.inference.segment_case.segment
