"""The examples in the docstrings of the check give what they print."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import medseg.training.config_check as room

MODULES = sorted(path.stem for path in Path(room.__file__).parent.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", [*(f"{room.__name__}.{module}" for module in MODULES), "medseg.apps.bundle_words"])
def test_the_examples_are_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed == 0
