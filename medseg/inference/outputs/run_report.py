"""``run.json``: what ran, on what, with which result; no patient identifiers."""

from __future__ import annotations

import importlib.metadata
import platform
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["RUN_SCHEMA_VERSION", "installed_versions", "peak_memory"]

RUN_SCHEMA_VERSION = 1

CORE_PACKAGES = ("medseg", "torch", "monai", "numpy", "scipy", "scikit-image", "nibabel", "pydicom", "matplotlib")


def installed_versions(packages: Iterable[str] = CORE_PACKAGES) -> dict[str, str | None]:
    """Version of Python and of every named distribution, ``None`` where it is not installed.

    Reads package metadata only; nothing is imported.
    """
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    if "medseg" in versions and versions["medseg"] is None:
        from medseg import __version__

        versions["medseg"] = __version__
    return versions


def peak_memory() -> dict[str, int | None]:
    """Highest resident memory of this process in bytes, and highest CUDA memory where CUDA was used (else ``None``)."""
    peak = _highest_resident()
    cuda = None
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        cuda = int(torch.cuda.max_memory_allocated())
    return {"peak_rss_bytes": peak, "peak_cuda_bytes": cuda}


def _highest_resident() -> int:
    """Bytes. ``ru_maxrss`` of a process is never below that of the one which started it, so the kernel's own mark of
    this process is preferred where there is one.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # Linux counts ru_maxrss in KiB, macOS in bytes.
        return int(peak if sys.platform == "darwin" else peak * 1024)
