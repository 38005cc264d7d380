"""The commands of a bundle's README for several processes, run as they are printed on two CPU processes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import Any

from tests.bundles.conftest import BUNDLES

ROOT = BUNDLES.parent
PATIENCE_S = 240
SMALL = {"roi_size": "[32,32,32]", "network_def::channels": "[4,8,8,16,16]"}


def printed(name: str, config: str) -> list[str]:
    """The words of the command with this overlay in the bundle's README."""
    blocks = re.findall(r"```bash\n(.*?)```", (BUNDLES / name / "docs" / "README.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if config in line]
    assert len(lines) == 1, f"{config} is in {len(lines)} commands"
    return shlex.split(lines[0])


def command(name: str, config: str, **places: Any) -> dict[str, Any]:
    """The printed command as arguments of `subprocess`; only its places differ, and keys that make the run small."""
    words = printed(name, config)
    assert words[0] == "torchrun"
    for key, value in {**SMALL, **places}.items():
        if f"--{key}" in words:
            words[words.index(f"--{key}") + 1] = str(value)
        else:
            words += [f"--{key}", str(value)]
    return {
        "args": [sys.executable, "-m", "torch.distributed.run", *words[1:]],
        "cwd": ROOT,
        "text": True,
        "env": {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    }


def torchrun(name: str, config: str, **places: Any) -> subprocess.CompletedProcess[str]:
    """Run the printed command to its end."""
    return subprocess.run(**command(name, config, **places), capture_output=True, check=False, timeout=PATIENCE_S)
