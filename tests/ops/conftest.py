"""What the tests of the ops share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from medseg import ops
from tests.conftest import require_or_skip


@pytest.fixture
def compiled() -> None:
    """Skips (or fails, where required) if the compiled library is not in use."""
    text = ops.status()["patch_select"]["cpu"]
    require_or_skip("ops", ops.compiled(), f"the compiled ops are not in use: {text}")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter with the given environment variables."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=300
    )
