"""geodesic_distance against FastGeodis: the same cost, weight and number of sweeps, on 3-D volumes.

The peer is ``FastGeodis.generalised_geodesic3d``, whose cost of a step is our ``additive`` one; without it a row says
how to install it. The maps are compared to 1e-4 before anything is timed. The ideal is the memory's: every sweep reads
image and distance and writes the distance once, at the speed at which this machine copies. Images are smoothed noise,
synthetic.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import _harness as harness
from medseg.ops import geodesic_distance

SIZES, QUICK_SIZES = ((64, 128, 128), (96, 256, 256)), ((32, 64, 64),)
SPACING, WEIGHT, SWEEPS, FAR = (2.5, 0.7, 0.8), 0.5, 2, 1e10
BAR, TOLERANCE = 2.0, 1e-4
NOTE = f"geodesic_distance: additive cost, weight {WEIGHT}, {SWEEPS} sweeps over 3 axes, spacing {SPACING}."


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


def _row_of(size: tuple[int, ...], quick: bool) -> harness.Row:
    image, seeds = volume(size)
    functions: dict[str, Callable[[], object]] = {"ours": lambda: ours(image, seeds), "copy": image.clone}
    row: harness.Row = {"case": f"geodesic_distance {'x'.join(map(str, size))} ({math.prod(size) / 1e6:.1f} M voxels)"}
    peer = peer_call(image, seeds)
    if peer is not None:
        functions["peer"] = peer
        difference = (ours(image, seeds) - peer()).abs().max().item()
        if not difference <= TOLERANCE:
            raise RuntimeError(f"maps differ by {difference:.3g} at {size}; expected at most {TOLERANCE}")
        row["difference"] = f"{difference:.1e}"
    if not quick:
        functions["exact"] = lambda: ours(image, seeds, None)
    times = harness.time_interleaved(functions, 5 if quick else 15, 5 if quick else 90)
    median = {name: timing.median_ms for name, timing in times.items()}
    ideal = 6 * SWEEPS * 1.5 * median["copy"]  # a copy moves two of the three arrays that a sweep moves
    row |= {
        "ours_ms": median["ours"],
        "ideal": f"memory {ideal:.2f} ms",
        "percent_of_ideal": 100 * ideal / median["ours"],
    }
    if not quick:
        row["exact_ms"] = median["exact"]
    if peer is None:
        return row | {"peer": "missing: pip install FastGeodis"}
    ratio = median["peer"] / median["ours"]
    row |= {"peer": "FastGeodis", "peer_ms": median["peer"], "ratio": ratio}
    return row if quick else row | {"bar": BAR, "pass": ratio >= BAR}


def rows(quick: bool) -> list[harness.Row]:
    """The rows of all sizes; the bar holds at the full ones."""
    return [_row_of(size, quick) for size in (QUICK_SIZES if quick else SIZES)]
