"""A bundle's overlay for several processes, run as its README says, on two CPU processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.bundles.conftest import BUNDLES

PROCESSES = 2
PATIENCE_S = 240
SMALL = {"roi_size": "[32,32,32]", "network_def::channels": "[4,8,8,16,16]"}


def environment(**more: str) -> dict[str, str]:
    """This checkout, one thread, no GPU."""
    return {
        **os.environ,
        "PYTHONPATH": str(BUNDLES.parent),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        **more,
    }


def command(name: str, configs: Sequence[str], **options: Any) -> list[str]:
    """The words after ``torchrun`` and its own options."""
    files = [str(BUNDLES / name / "configs" / config) for config in configs]
    words = ["-m", "monai.bundle", "run", "--config_file", str(files)]
    return words + [word for key, value in {**SMALL, **options}.items() for word in (f"--{key}", str(value))]


def torchrun(name: str, configs: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a bundle's configurations in two processes of this machine."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}"]
    return subprocess.run(
        [*start, *command(name, configs, **options)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env=environment(),
    )
