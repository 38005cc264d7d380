"""The shape of the code base: who imports whom, what loads torch, which calls are forbidden, how long files are."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("medseg", "data_prep", "benchmarks")
MAX_LINES = 500

# A room imports rooms of lower floors, and of its own floor only those that stand before it.
FLOORS = (
    (),
    ("ops", "geometry"),
    ("io", "partition", "density", "layers", "transforms", "losses", "metrics"),
    ("datasets", "networks"),
    ("inference", "training", "compression", "interactive"),
    ("apps",),
)
# Floor 1 is two separate rooms: neither knows the other.
SEPARATE = {("geometry", "ops")}
DATA_PREP_ROOMS = {"io", "datasets", "geometry"}
# The folders of a room in their order: each imports only those that stand before it, and never the room's own face.
SUB_ROOMS = {
    "io": ("bounded", "privacy", "volumes", "ct", "results", "cohort"),
    "networks": ("parts", "models", "adapt", "guided"),
}
MAX_MODULES = 20
MANY_MODULES = {"medseg/ops"}  # one module an op


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute module name of every import, also those inside functions and relative ones."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from medseg import ops` imports a room by its name.
            yield from (
                (node.lineno, f"{module}.{alias.name}" if module == "medseg" else module) for alias in node.names
            )


def room_of(module: str) -> str | None:
    """``layers`` for ``medseg.layers.guidance``; None for names that are no room, such as ``medseg.__version__``."""
    parts = module.split(".")
    if parts[0] != "medseg" or len(parts) < 2 or parts[1].startswith("_"):
        return None
    return parts[1]


def place_of(room: str) -> tuple[int, int]:
    for floor, rooms in enumerate(FLOORS):
        if room in rooms:
            return floor, rooms.index(room)
    raise AssertionError(f"medseg/{room} is on no floor; put it into the plan in {Path(__file__).name}")


def may_import(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    return place_of(imported) < place_of(importer) and (importer, imported) not in SEPARATE


def test_the_rule_itself_tells_up_from_down() -> None:
    assert may_import("apps", "inference")
    assert may_import("transforms", "layers")
    assert not may_import("layers", "transforms")
    assert not may_import("io", "datasets")
    assert not may_import("geometry", "ops")


def test_rooms_import_only_rooms_below_them() -> None:
    broken = []
    for path in sources("medseg"):
        room = room_of(module_name(path))
        for line, module in imported_modules(path):
            target = room_of(module)
            if room and target and not may_import(room, target):
                broken.append(f"{path.relative_to(ROOT)}:{line}: {room} imports {target}")
            if module.split(".")[0] in ("data_prep", "benchmarks", "tests"):
                broken.append(f"{path.relative_to(ROOT)}:{line}: the package imports {module}")
    assert not broken, "\n".join(broken)


def test_data_prep_stands_on_its_three_rooms_only() -> None:
    broken = [
        f"{path.relative_to(ROOT)}:{line}: imports {module}"
        for path in sources("data_prep")
        for line, module in imported_modules(path)
        if (room_of(module) or "io") not in DATA_PREP_ROOMS or module.split(".")[0] in ("benchmarks", "tests")
    ]
    assert not broken, "\n".join(broken)


def may_import_in_room(order: tuple[str, ...], importer: str, imported: str) -> bool:
    """Whether a sub-room may import another module of its room.

    Args:
        order: the sub-rooms of the room.
        importer: name of the sub-room that imports.
        imported: what follows the room's name in the imported module, such as ``ct.scan``; "" for the room itself.
    """
    target = imported.split(".")[0]
    if target not in order:
        return target != ""  # a plain module of the room, such as the registry of networks
    return order.index(target) <= order.index(importer)


def test_the_rule_of_sub_rooms_tells_earlier_from_later() -> None:
    order = SUB_ROOMS["io"]
    assert may_import_in_room(order, "ct", "bounded.errors")
    assert may_import_in_room(order, "ct", "ct.header")
    assert may_import_in_room(order, "ct", "registry")
    assert not may_import_in_room(order, "bounded", "results.seg_read")
    assert not may_import_in_room(order, "volumes", "ct")
    assert not may_import_in_room(order, "ct", "")


@pytest.mark.parametrize("room", SUB_ROOMS)
def test_sub_rooms_import_only_those_before_them(room: str) -> None:
    folder = ROOT / "medseg" / room
    assert {path.parent.name for path in folder.glob("*/__init__.py")} == set(SUB_ROOMS[room])
    prefix = f"medseg.{room}"
    broken = [
        f"{path.relative_to(ROOT)}:{line}: {importer} imports {module}"
        for importer in SUB_ROOMS[room]
        for path in sources(f"medseg/{room}/{importer}")
        for line, module in imported_modules(path)
        if module == prefix or module.startswith(f"{prefix}.")
        if not may_import_in_room(SUB_ROOMS[room], importer, module[len(prefix) + 1 :])
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("room", SUB_ROOMS)
def test_plain_modules_of_a_room_import_none_of_its_folders(room: str) -> None:
    plain = [path for path in (ROOT / "medseg" / room).glob("*.py") if path.name != "__init__.py"]
    broken = [
        f"{path.relative_to(ROOT)}:{line}: imports {module}"
        for path in plain
        for line, module in imported_modules(path)
        if module.split(".")[:2] == ["medseg", room] and module.split(".")[2:3] in ([], *([s] for s in SUB_ROOMS[room]))
    ]
    assert not broken, "\n".join(broken)


def public_modules(names: Iterable[str]) -> list[str]:
    """Python files whose name does not begin with an underscore (so neither ``__init__.py`` nor ``__main__.py``)."""
    return [name for name in names if name.endswith(".py") and not name.startswith("_")]


def test_only_public_python_files_are_counted() -> None:
    assert public_modules(["a.py", "_b.py", "__init__.py", "__main__.py", "c.so", "README.md"]) == ["a.py"]


def test_no_folder_holds_too_many_modules() -> None:
    folders = {path.parent for path in sources(*PACKAGES)}
    counts = {
        str(folder.relative_to(ROOT)): len(public_modules(path.name for path in folder.iterdir())) for folder in folders
    }
    crowded = [f"{name}: {count} modules" for name, count in counts.items() if count > MAX_MODULES]
    assert {"medseg/io/ct", "data_prep", "benchmarks"} <= set(counts)
    assert not [line for line in crowded if line.split(":")[0] not in MANY_MODULES], "\n".join(crowded)


def test_helpers_of_the_commands_lie_in_folders() -> None:
    loose = [path.name for path in (ROOT / "data_prep").glob("_*.py") if not path.stem.endswith("__")]
    assert not loose, f"data_prep holds {', '.join(loose)}; helpers belong into its folders, such as data_prep/_options"


def test_geometry_is_pure_numpy() -> None:
    heavy = {"torch", "monai", "nibabel", "pydicom", "itk", "SimpleITK", "matplotlib"}
    broken = [
        f"{path.relative_to(ROOT)}:{line}: imports {module}"
        for path in sources("medseg/geometry")
        for line, module in imported_modules(path)
        if module.split(".")[0] in heavy
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import medseg"],
        ["-m", "medseg", "--help"],
        ["-m", "medseg", "segment", "--help"],
        ["-m", "medseg", "doctor", "--help"],
        ["-m", "medseg", "evaluate", "--help"],
        ["-m", "medseg", "run", "--help"],
        ["-m", "data_prep.convert", "--help"],
        ["-m", "data_prep.labels", "--help"],
    ],
    ids=" ".join,
)
def test_help_and_import_are_light(arguments: list[str], tmp_path: Path) -> None:
    # -X importtime names every module that is loaded, whatever the program does with sys.modules at its end.
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert done.returncode == 0, done.stderr[-2000:]
    assert arguments[1].split(".")[0] in {*loaded, "import medseg"}
    assert not loaded & {"torch", "monai", "matplotlib", "itk", "SimpleITK"}


def test_no_file_is_longer_than_the_limit() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*PACKAGES)}
    long = [f"{path.relative_to(ROOT)}: {lines} lines" for path, lines in lengths.items() if lines > MAX_LINES]
    assert not long, "\n".join(long)


def forbidden_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Ways to run code out of data: unpickling, eval, unsafe YAML, blind unpacking, a shell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            if any(name.split(".")[0] in ("pickle", "dill", "cloudpickle", "joblib") for name in names):
                yield node.lineno, "pickle"
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name == "torch.load" and keywords.get("weights_only") != "True":
            yield node.lineno, "torch.load without weights_only=True"
        if name in ("eval", "exec", "builtins.eval", "builtins.exec", "os.system", "os.popen"):
            yield node.lineno, name
        if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load") or name.endswith(".extractall"):
            yield node.lineno, name
        if keywords.get("shell") == "True":
            yield node.lineno, "shell=True"
        if keywords.get("allow_pickle") == "True":
            yield node.lineno, "allow_pickle=True"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "eval(text)",
        "yaml.load(f)",
        "archive.extractall(d)",
        "subprocess.run(c, shell=True)",
        "np.load(p, allow_pickle=True)",
    ],
)
def test_the_lint_finds_each_forbidden_call(code: str) -> None:
    assert list(forbidden_calls(ast.parse(code)))


def test_the_lint_lets_safe_calls_pass() -> None:
    safe = "network.eval()\ntorch.load(p, weights_only=True)\nyaml.safe_load(f)\nsubprocess.run(c)\nnp.load(p)"
    assert not list(forbidden_calls(ast.parse(safe)))


def test_no_code_runs_data() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sources(*PACKAGES)
        for line, what in forbidden_calls(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, "\n".join(found)


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(*PACKAGES)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent


@pytest.mark.parametrize("room", [room for floor in FLOORS for room in floor if (ROOT / "medseg" / room).is_dir()])
def test_names_listed_by_a_room_exist(room: str) -> None:
    if not (ROOT / "medseg" / room / "__init__.py").is_file():
        pytest.fail(f"medseg/{room} has no __init__.py")
    module = importlib.import_module(f"medseg.{room}")
    missing = [name for name in getattr(module, "__all__", []) if not hasattr(module, name)]
    assert not missing
