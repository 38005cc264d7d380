"""Running Python code in a process whose address space is limited, so that a reader that asks for too much is seen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The readers' libraries are loaded first: the limit is on what comes on top of them.
_PRELUDE = """
import resource, sys
import numpy, nibabel, pydicom
import medseg.io.volumes.image, medseg.io.volumes.nifti, medseg.io.volumes.metaimage, medseg.io.volumes.nrrd
{load}
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + {extra_mib} * 1024 * 1024
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


def run_limited(
    code: str, arguments: Sequence[str] = (), extra_mib: int = 512, timeout_s: float = 600, load: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run code (``sys.argv[1:]`` are the arguments) with ``extra_mib`` of address space beyond the libraries'.

    ``load`` is run before the limit is set.
    """
    return subprocess.run(
        [sys.executable, "-c", _PRELUDE.format(extra_mib=extra_mib, load=load) + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
