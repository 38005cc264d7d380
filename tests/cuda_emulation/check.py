"""``python -m tests.cuda_emulation.check``: every check of the CUDA sources that needs no GPU, as one table.

Cubins for each architecture against the ceilings, `_C_cuda` present and linked (loading it may be refused only for
symbols that a torch without CUDA lacks), the emulation in three orders against plain PyTorch, both sanitizers, and
the planted bug. Exit status 1 if anything fails.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tests.cuda_emulation import _block_conv as block_conv
from tests.cuda_emulation import _bspline_warp as bspline_warp
from tests.cuda_emulation import _geodesic_distance as geodesic_distance
from tests.cuda_emulation import _local_glcm as local_glcm
from tests.cuda_emulation import _local_histogram as local_histogram
from tests.cuda_emulation import _quadtree_conv as quadtree_conv
from tests.cuda_emulation import _toolchain as toolchain
from tests.cuda_emulation._emulation import (
    ORDERS,
    SCORE_SHAPES,
    SELECT_SHAPES,
    TOLERANCE,
    Emulation,
    compare_scores,
    compare_selection,
)

# What a CPU-only torch lacks; any other missing symbol is a fault of ours.
CUDA_SYMBOL = r"aoti_torch_get_current_cuda_stream|torch_c10_cuda_\w+|aoti_torch_\w*cuda\w*"


def check_cubins(folder: Path) -> str:
    """Compiles all kernels and holds them to the ceilings."""
    uses, ceilings = toolchain.compile_all_cubins(folder), toolchain.read_ceilings()
    print(f"{'kernel':42} {'arch':6} {'registers':>9} {'ceiling':>7} {'smem':>6} {'spill':>5}")
    for use in uses:
        ceiling = ceilings.get((use.kernel, use.architecture), "none")
        row = f"{use.kernel:42} {use.architecture:6} {use.registers:9} {ceiling:>7}"
        print(f"{row} {use.shared_bytes:6} {use.spill_bytes:5}")
    broken = toolchain.violations(uses, ceilings)
    stale = sorted(set(ceilings) - {(use.kernel, use.architecture) for use in uses})
    broken += [f"{kernel} on {architecture} has a ceiling but does not exist" for kernel, architecture in stale]
    if broken:
        raise RuntimeError("; ".join(broken))
    return f"{len(uses)} kernels x architectures, no spill"


def check_link(_: Path) -> str:
    """The built `_C_cuda` loads, or lacks only what this torch lacks."""
    path = toolchain.ROOT / "medseg" / "_C_cuda.abi3.so"
    if not path.exists():
        raise RuntimeError(f"{path.name} is not built; run pip install --no-build-isolation -e .")
    folders = [toolchain.ROOT / "medseg/csrc/common", toolchain.CUDA_SOURCES]
    sources = [p for folder in folders for p in folder.iterdir()]
    if path.stat().st_mtime < max(p.stat().st_mtime for p in sources):
        raise RuntimeError(f"{path.name} is older than its sources; rebuild it")
    try:
        torch.ops.load_library(str(path.parent / "_C.abi3.so"))
        ctypes.CDLL(str(path))
    except OSError as error:
        symbol = re.search(r"undefined symbol: (\w+)", str(error))
        if torch.version.cuda is None and symbol and re.fullmatch(CUDA_SYMBOL, symbol.group(1)):
            return f"built; refused here only for {symbol.group(1)} (torch has no CUDA)"
        raise
    return "built and loaded"


def comparisons(emulation: Emulation) -> dict[str, tuple[float, float]]:
    """Error and limit of every shape and dtype of every op, in one order."""
    found: dict[str, tuple[float, float]] = {}
    for dtype, limit in TOLERANCE.items():
        for shape in SCORE_SHAPES:
            found[f"score_argmax {shape} {dtype}"] = compare_scores(emulation, shape, dtype), limit
        for selected in SELECT_SHAPES:
            for max_grad in (True, False):
                error = compare_selection(emulation, selected, dtype, max_grad)
                found[f"patch_select {selected} {max_grad} {dtype}"] = error, limit
    for dtype, limit in block_conv.LIMIT.items():
        for case in block_conv.CASES:
            found[f"{case} {dtype}"] = max(block_conv.compare(emulation, case, dtype).values()), limit
    for dtype in quadtree_conv.LIMIT:
        for rounds in quadtree_conv.CASES:
            error = max(quadtree_conv.compare(emulation, rounds, dtype).values())
            found[f"{rounds} {dtype}"] = error, quadtree_conv.limit(rounds, dtype)
    for dtype, limit in bspline_warp.LIMIT.items():
        for warp in bspline_warp.CASES:
            for nearest, border in itertools.product((False, True), repeat=2):
                error = bspline_warp.compare(emulation, warp, dtype, nearest, border)
                found[f"{warp} {nearest} {border} {dtype}"] = error, limit
    for dtype, limit in geodesic_distance.LIMIT.items():
        for geodesic in geodesic_distance.CASES:
            found[f"{geodesic} {dtype}"] = geodesic_distance.compare(emulation, geodesic, dtype), limit
    for dtype, limit in local_histogram.LIMIT.items():
        for histogram in local_histogram.CASES:
            found[f"{histogram} {dtype}"] = local_histogram.compare(emulation, histogram, dtype), limit
    for dtype, limit in local_glcm.LIMIT.items():
        for glcm in local_glcm.CASES:
            found[f"{glcm} {dtype}"] = local_glcm.compare(emulation, glcm, dtype), limit
    return found


def check_emulation(folder: Path) -> str:
    """Every shape, dtype and order against plain PyTorch."""
    emulation = Emulation(toolchain.build_emulation(folder, "library"))
    count = 0
    for order in ORDERS:
        emulation.set_order(order)
        for case, (error, limit) in comparisons(emulation).items():
            if not error < limit:
                raise RuntimeError(f"{case}, {order} order: error {error:.1e}")
            count += 1
    x = torch.arange(256.0)
    sums = set()
    for order in ORDERS:
        emulation.set_order(order)
        sums.add(emulation.planted_bug(x).item())
    if len(sums) == 1:
        raise RuntimeError("the planted bug went unnoticed: every order gave one result")
    return f"{count} comparisons; planted bug depends on the order"


def check_sanitizer(flavour: str) -> Callable[[Path], str]:
    """A check that runs the kernels under one sanitizer."""

    def run(folder: Path) -> str:
        program = toolchain.build_emulation(folder, flavour)
        done = toolchain.run_program(program)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        if flavour != "thread":
            return "clean"
        caught = toolchain.run_program(program, "bug")
        if caught.returncode == 0 or "data race" not in caught.stderr:
            raise RuntimeError("the planted bug went unnoticed")
        return "clean; planted bug reported as a data race"

    return run


CHECKS: dict[str, Callable[[Path], str]] = {
    "cubins": check_cubins,
    "link of _C_cuda": check_link,
    "emulation": check_emulation,
    "ThreadSanitizer": check_sanitizer("thread"),
    "AddressSanitizer + UBSan": check_sanitizer("address"),
}


def main() -> int:
    """Runs all checks; returns the exit status."""
    if toolchain.nvcc() is None or toolchain.compiler() is None:
        print("cuda check: nvcc and a C++ compiler are needed", file=sys.stderr)
        return 1
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for name, check in CHECKS.items():
            start = time.perf_counter()
            try:
                text, passed = check(Path(folder)), True
            except (RuntimeError, OSError) as error:
                text, passed = str(error), False
            failed |= not passed
            rows.append(f"{name:26} {'ok' if passed else 'FAILED':7} {time.perf_counter() - start:6.1f} s  {text}")
    print("\n".join(["", *rows]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
