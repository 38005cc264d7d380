"""geodesic_distance against FastGeodis: the same cost, weight and number of sweeps, on 3-D volumes.

The peer is ``FastGeodis.generalised_geodesic3d`` where it is installed (``pip install FastGeodis``); without it only
our own times are printed. The maps are compared to 1e-4 before anything is timed. Bar: 2 times faster at both sizes
with two threads. The ideal is the memory's: every sweep reads image and distance and writes the distance once, at the
speed at which this machine copies. Images are smoothed noise, synthetic.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import _harness as harness
from medseg.ops import geodesic_distance, status

SIZES = ((64, 128, 128), (96, 256, 256))
SPACING, WEIGHT, SWEEPS, FAR = (2.5, 0.7, 0.8), 0.5, 2, 1e10
BAR, TOLERANCE = 2.0, 1e-4


def volume(size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Smoothed noise of unit deviation ``[1, 1, *size]`` and two seeds."""
    noise = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.avg_pool3d(noise, 5, 1, 2)
    seeds = torch.zeros(1, 1, *size)
    for corner in ([s // 4 for s in size], [3 * s // 4 for s in size]):
        seeds[0, 0][tuple(corner)] = 1
    return image / image.std(), seeds


def peer_call(image: Tensor, seeds: Tensor) -> Callable[[], Tensor] | None:
    """FastGeodis on these inputs, or None if it is not installed."""
    try:
        peer: Any = importlib.import_module("FastGeodis")
    except ImportError:
        return None
    return lambda: peer.generalised_geodesic3d(image, 1 - seeds, list(SPACING), FAR, WEIGHT, SWEEPS)


def ours(image: Tensor, seeds: Tensor, sweeps: int | None = SWEEPS) -> Tensor:
    """The op with the peer's conventions."""
    return geodesic_distance(image, seeds, WEIGHT, SPACING, "additive", sweeps, FAR)


def measure(size: tuple[int, ...], quick: bool) -> harness.Row:
    """The row of one size."""
    image, seeds = volume(size)
    functions: dict[str, Callable[[], object]] = {"ours": lambda: ours(image, seeds), "copy": image.clone}
    peer = peer_call(image, seeds)
    row: harness.Row = {"case": "x".join(map(str, size))}
    if peer is not None:
        functions["peer"] = peer
        row["difference"] = (ours(image, seeds) - peer()).abs().max().item()
        if not row["difference"] <= TOLERANCE:
            raise RuntimeError(f"maps differ by {row['difference']:.3g} at {size}; expected at most {TOLERANCE}")
    if not quick:
        functions["exact"] = lambda: ours(image, seeds, None)
    times = harness.time_interleaved(functions, 5 if quick else 15, 25 if quick else 90)
    ideal = 6 * SWEEPS * 1.5 * times["copy"].median_ms  # a copy moves two of a sweep's three
    row |= {"ours_ms": times["ours"].median_ms, "ideal": ideal}
    row |= {"percent_of_ideal": 100 * ideal / times["ours"].median_ms}
    if not quick:
        row["exact_ms"] = times["exact"].median_ms
    if peer is not None:
        ratio = times["peer"].median_ms / times["ours"].median_ms
        row |= {"peer": "FastGeodis", "peer_ms": times["peer"].median_ms, "ratio": ratio, "bar": BAR}
        row["pass"] = ratio >= BAR
    return row


def main() -> int:
    """Runs the benchmark."""
    options = harness.arguments(__doc__)
    head = harness.header(
        2 if options.threads is None else options.threads,
        "fresh output in every call",
        backend=status()["geodesic_distance"]["cpu"],
    )
    sizes = SIZES[:1] if options.quick else SIZES  # the peer alone takes minutes for the second
    rows = [measure(size, options.quick) for size in sizes]
    voxels = ", ".join(f"{math.prod(size) / 1e6:.1f} M voxels" for size in sizes)
    return harness.finish(options, head, rows, [f"{SWEEPS} sweeps over 3 axes, weight {WEIGHT}; {voxels}."])


if __name__ == "__main__":
    sys.exit(main())
