"""Parameters of the transforms' menu."""

from __future__ import annotations

import pytest

from tests.transforms._menu import parametrise_menu


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrise_menu(metafunc)
