"""What the benchmarks share: header, interleaved timing, memory of a child process, tables and JSON rows."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medseg.io.bounded.atomic import json_text

Row = dict[str, Any]


class Timing(NamedTuple):
    """Median and spread (third minus first quartile) of the repeats, in milliseconds."""

    median_ms: float
    spread_ms: float


def arguments(description: str | None, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the options that every benchmark has: ``--quick``, ``--threads``, ``--json``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repeats; ends within a minute")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch (default: torch's own choice)")
    parser.add_argument("--json", type=Path, default=None, help="write header and rows to this file")
    return parser.parse_args(argv)


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def header(threads: int | None, allocation: str, **versions: str) -> Row:
    """Header object; sets the threads of torch.

    Args:
        threads: threads to use, or None for torch's own choice.
        allocation: how outputs are allocated, for example "fresh output in every call".
        versions: further versions or modes to state, such as the backend of an op.

    Returns:
        ``{"machine", "threads", "versions", "allocation"}`` with the load of the machine at the start.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    found = {"python": platform.python_version(), "torch": torch.__version__, **versions}
    machine = {"processor": processor(), "cores": os.cpu_count(), "load_at_start": round(os.getloadavg()[0], 2)}
    return {"machine": machine, "threads": torch.get_num_threads(), "versions": found, "allocation": allocation}


def time_interleaved(
    functions: Mapping[str, Callable[[], object]], repeats: int, most_seconds: float, *, settle: bool = False
) -> dict[str, Timing]:
    """Times functions in turn, so that a change of the machine's load hits all of them.

    Args:
        functions: what to time, by name; each is called once beforehand.
        repeats: rounds at most, at least 3 are made.
        most_seconds: no new round starts after this time.
        settle: calls each function once without timing it, right before every timed call. The timed call then finds
            caches and free memory as in a loop of the same function. Without this, the first use of memory that was
            idle while the other functions ran is slow on a virtual machine that returns idle pages to its host.

    Returns:
        Timing by name.
    """
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    start = time.perf_counter()
    for done in range(repeats):
        if done >= 3 and time.perf_counter() - start > most_seconds:
            break
        for name, function in functions.items():
            if settle:
                function()
            before = time.perf_counter()
            function()
            samples[name].append(1e3 * (time.perf_counter() - before))
    return {name: _summary(values) for name, values in samples.items()}


def _summary(values: Sequence[float]) -> Timing:
    first, _, third = statistics.quantiles(values, n=4)
    return Timing(statistics.median(values), third - first)


def peak_rise_mb(function: Callable[[], object]) -> float:
    """Rise of this process's resident memory to its peak while the function runs, in MiB (Linux).

    Call it in a fresh process (see `in_child`): memory that an allocator kept from earlier calls would hide the rise.
    """
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _memory_kib("VmRSS")
    function()
    return (_memory_kib("VmHWM") - before) / 1024


def process_peak_mb() -> float:
    """Peak of this process's resident memory since its start or the last `peak_rise_mb`, in MiB (Linux)."""
    return _memory_kib("VmHWM") / 1024


def _memory_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def in_child(module: str, *words: str) -> str:
    """Runs ``python -m module words`` and returns the last line it printed."""
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout.strip().splitlines()[-1]


def available_bytes() -> int:
    """Memory that can be had without swapping."""
    return 1024 * int(
        next(s for s in Path("/proc/meminfo").read_text().splitlines() if s.startswith("MemAv")).split()[1]
    )


def print_report(head: Row, rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    """Prints header, table and notes."""
    print(f"{head['machine']}  threads {head['threads']}  {head['versions']}  {head['allocation']}")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(c), *(len(line[i]) for line in cells)) for i, c in enumerate(columns)]
    for line in [columns, *cells]:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
    load, cores = head["machine"]["load_at_start"], head["machine"]["cores"] or 1
    if load > cores / 2:
        notes = [*notes, f"Load {load} on {cores} cores at the start: times hold waiting; repeat on a quiet machine."]
    print("\n".join(notes))


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def finish(options: argparse.Namespace, head: Row, rows: Sequence[Row], notes: Sequence[str] = ()) -> int:
    """Prints, writes the JSON file if asked for, and returns the exit status: 1 if a bar is missed."""
    print_report(head, rows, notes)
    if options.json is not None:
        partial = options.json.with_name(options.json.name + ".partial")
        partial.write_text(json_text([head, *rows], indent=1) + "\n")
        partial.replace(options.json)
    return int(any(row.get("pass") is False for row in rows))
