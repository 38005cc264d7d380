"""Every public class and function shows a `>>>` example in its docstring, and every example gives what it prints.

An example starts with `np`, `torch` and the public names of its own room defined; it imports everything else itself.
It starts from fixed seeds, in an empty folder, and may abbreviate its output with `...`. For `medseg.inference` the
folder holds a scan and a bundle.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from medseg.io.volumes.nifti import write_nifti
from tests.inference._tiny_bundle import make_tiny_bundle

ROOMS = (
    "datasets",
    "datasets.lidc",
    "datasets.lits",
    "datasets.phantom",
    "inference",
    "io",
    "layers",
    "layers.guidance",
    "losses",
    "metrics",
    "networks",
    "ops",
    "partition",
    "training",
    "transforms",
)
# Rooms whose names need no example; what they show is run all the same.
WITHOUT = ("geometry",)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def public(room: ModuleType) -> dict[str, Any]:
    """The public classes and functions of a room; constants, type aliases and exceptions need no example."""
    found = {name: getattr(room, name) for name in getattr(room, "__all__", ())}
    return {name: member for name, member in found.items() if needs_example(member)}


def needs_example(member: Any) -> bool:
    if inspect.isclass(member):
        return not issubclass(member, BaseException)
    return callable(member) and inspect.isroutine(inspect.unwrap(member))


def examples_of(name: str, member: Any, names: dict[str, Any]) -> list[doctest.DocTest]:
    """The docstrings with examples of a class, its methods and properties, or of a function."""
    found = doctest.DocTestFinder(exclude_empty=True).find(member, name, globs=names)
    return [test for test in found if test.examples]


def failures(test: doctest.DocTest) -> str:
    """What a run of the examples of a docstring reports; empty if all of them are right."""
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    return "".join(report)


def write_scan_and_bundle(folder: Path) -> None:
    """The files that examples of inference name: a synthetic scan, and a tiny bundle in place of a trained one."""
    bundle = make_tiny_bundle(folder / "bundles" / "lits_liver_segmentation", class_name="liver")
    (bundle / "models" / "model.pt").rename(folder / "model.pt")
    scan = np.full((20, 24, 18), -1000, np.int16)
    scan[4:16, 4:20, 3:15] = 150
    write_nifti(folder / "scan.nii.gz", scan, np.diag([0.8, 0.8, 2.5, 1.0]))


def all_names() -> Iterator[Any]:
    for room in ROOMS + WITHOUT:
        module = importlib.import_module(f"medseg.{room}")
        yield from (pytest.param(module, name, id=f"{room}.{name}") for name in sorted(public(module)))


@pytest.mark.parametrize("name", ROOMS)
def test_every_public_name_of_the_room_has_an_example(name: str) -> None:
    names = public(importlib.import_module(f"medseg.{name}"))
    assert [n for n, member in names.items() if ">>> " not in (member.__doc__ or "")] == []


@pytest.mark.parametrize(("room", "name"), all_names())
def test_the_examples_of_the_name_are_right(
    room: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if room.__name__ == "medseg.inference":
        write_scan_and_bundle(tmp_path)
    names = {"np": np, "torch": torch, **{n: getattr(room, n) for n in room.__all__}}
    for test in examples_of(name, getattr(room, name), names):
        assert not [e.source for e in test.examples if doctest.SKIP in e.options], "an example must not be skipped"
        np.random.seed(0)
        torch.manual_seed(0)
        assert not (report := failures(test)), report


def test_a_wrong_example_is_reported_with_what_it_printed() -> None:
    def half(number: float) -> float:
        """
        >>> half(3)
        2
        """
        return number / 2

    (test,) = examples_of("half", half, {"half": half})
    report = failures(test)
    assert "Expected:\n    2" in report
    assert "Got:\n    1.5" in report
