"""The emulated library, built once for all its tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import require_or_skip
from tests.cuda_emulation import _toolchain as toolchain
from tests.cuda_emulation._emulation import ORDERS, Emulation


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Emulation:
    require_or_skip("nvcc", toolchain.compiler() is not None, "no C++ compiler")
    return Emulation(toolchain.build_emulation(tmp_path_factory.mktemp("emulation"), "library"))


@pytest.fixture(params=ORDERS)
def emulation(library: Emulation, request: pytest.FixtureRequest) -> Iterator[Emulation]:
    """The library, once for every order of threads."""
    library.set_order(request.param)
    yield library
    library.set_order("forward")
