"""Fixtures shared by all tests: real data and optional capabilities are skipped or, where required, demanded."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.traps import _report as report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="torch device of the device tests: cpu (default) or cuda")
    report.pytest_addoption(parser)


def pytest_configure(config: pytest.Config) -> None:
    report.pytest_configure(config)


@pytest.fixture(autouse=True)
def _known_draws() -> None:
    """Every test starts from the same random numbers, alone and in any order: a failure can be repeated."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def _settings_of_the_process() -> Iterator[None]:
    """A test leaves torch as it found it: later tests, and other libraries in the process, rely on it."""
    torch = sys.modules.get("torch")
    threads = None if torch is None else torch.get_num_threads()
    yield
    if (torch := sys.modules.get("torch")) is None:
        return
    if threads is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if not torch.tensor([5e-324], dtype=torch.float64).gt(0).item():
        torch.set_flush_denormal(False)
        pytest.fail("the test left torch.set_flush_denormal(True) behind")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """The torch device named by ``--device``; a CUDA device that is not there is an error, not a skip."""
    import torch

    name = str(request.config.getoption("--device"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.fail(f"--device {name} was asked for, but torch finds no CUDA device")
    return name


def required(capability: str) -> bool:
    """True if ``MEDSEG_REQUIRE`` (comma-separated: ops, data, nvcc) demands the capability."""
    return capability in os.environ.get("MEDSEG_REQUIRE", "").split(",")


def require_or_skip(capability: str, available: bool, reason: str) -> None:
    """Skip the running test if the capability is absent; fail instead where ``MEDSEG_REQUIRE`` names it."""
    if available:
        return
    if required(capability):
        pytest.fail(f"MEDSEG_REQUIRE names {capability!r}, but: {reason}")
    pytest.skip(reason)


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Path of a file or folder under ``MEDSEG_DATA``; skips (or fails where required) if it is not there."""

    def locate(name: str) -> Path:
        root = os.environ.get("MEDSEG_DATA")
        require_or_skip("data", bool(root), "MEDSEG_DATA is not set, so the real public data is not available")
        path = Path(root or "") / name
        require_or_skip("data", path.exists(), f"{path} does not exist")
        return path

    return locate
