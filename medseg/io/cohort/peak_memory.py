"""The highest memory of a process that works on one case after the other."""

from __future__ import annotations

from pathlib import Path

__all__ = ["peak_memory_mb", "reset_peak_memory"]


def reset_peak_memory() -> None:
    """Let `peak_memory_mb` start anew (Linux; elsewhere the peak is that of the process's whole life)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_mb() -> float:
    """Highest resident memory of this process since `reset_peak_memory`, in MiB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)
    except (OSError, StopIteration):
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
