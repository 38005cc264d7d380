"""block_conv against the dense convolution and the pure-torch gather, forward and backward.

Peers, compared with ours before they are timed: torch's dense convolution (oneDNN) in the memory format that is faster
for the input at hand, conversions included; and the form of the op that plain torch offers: pad, unfold, index,
convolve, index_put. Channels-last rows have channels-last inputs and outputs, contiguous rows contiguous ones. Active
tiles: the tiles of the largest mean gradient magnitude of a real CT (``MEDSEG_DATA``), and random tiles as a row of
their own. Ideal: the dense time times the active fraction f. Each timed call follows an untimed one of the same
function, as in a loop. Right after another function, a call of ours takes about 0.3 ms more, for any number of tiles
(32 channels, 256 x 256), because caches are cold, mainly those of the interpreter and the dispatcher.

Bars (float32): forward at least 90 % of the ideal at f <= 0.5 and C >= 32, backward (data, weight and bias gradient) at
least 75 %; ahead of the torch form everywhere; not slower than dense at f = 0.75.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks import _harness as harness
from medseg.io.volumes.nifti import read_nifti
from medseg.ops import block_conv, status

FRACTIONS = (0.05, 0.10, 0.25, 0.50, 0.75)
FORWARD_BAR, BACKWARD_BAR, BAR_UP_TO, BAR_CHANNELS = 90.0, 75.0, 0.5, 32
SCAN = "abdomen_totalseg/example_ct.nii.gz"
CASES = [(c, (side, side)) for side in (256, 512) for c in (16, 32, 64)] + [(32, (96, 96, 96))]
QUICK_FRACTIONS, QUICK_CASES = (0.1, 0.5), [(32, (256, 256)), (32, (48, 48, 48))]
Functions = dict[str, Callable[[], object]]


class Problem(NamedTuple):
    """Inputs of one group of rows."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    tile: tuple[int, ...]
    channels_last: bool

    @property
    def last(self) -> torch.memory_format:
        """The channels-last format of this rank."""
        return torch.channels_last if self.x.ndim == 4 else torch.channels_last_3d

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return int(np.prod([s // t for s, t in zip(self.x.shape[2:], self.tile, strict=True)]))


def make_problem(channels: int, sizes: tuple[int, ...], channels_last: bool) -> Problem:
    """Random map and weights."""
    generator = torch.Generator().manual_seed(channels)
    d = len(sizes)
    x = torch.randn((1, channels, *sizes), generator=generator)
    weight = torch.randn((channels, channels, *[3] * d), generator=generator)
    bias = torch.randn(channels, generator=generator)
    problem = Problem(x, weight, bias, (16,) * 2 if d == 2 else (8,) * 3, channels_last)
    return problem._replace(x=x.contiguous(memory_format=problem.last)) if channels_last else problem


def scan_scores(scan: np.ndarray | None, problem: Problem) -> Tensor:
    """Mean gradient magnitude of every tile of the scan (its middle slice in 2-D), resized to the map."""
    sizes = problem.x.shape[2:]
    if scan is None:
        return torch.rand(problem.tiles, generator=torch.Generator().manual_seed(1))
    image = scan if len(sizes) == 3 else scan[:, :, scan.shape[2] // 2]
    image = ndimage.zoom(image, [s / n for s, n in zip(sizes, image.shape, strict=True)], order=1)
    steepness = np.sqrt(sum(g**2 for g in np.gradient(image)))
    split = [v for s, t in zip(sizes, problem.tile, strict=True) for v in (s // t, t)]
    blocks = steepness.reshape(split).mean(axis=tuple(range(1, 2 * len(sizes), 2)))
    return torch.from_numpy(blocks.ravel().astype(np.float32))


def active_tiles(scores: Tensor, fraction: float) -> Tensor:
    """The tiles of the highest scores, ascending."""
    count = max(1, round(fraction * len(scores)))
    return scores.topk(count).indices.sort().values.int()


def dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The dense convolution."""
    function = torch.nn.functional.conv2d if x.ndim == 4 else torch.nn.functional.conv3d
    return function(x, weight, bias, padding=1)


def dense_backward(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Its three gradients, of which the one to the data is returned."""
    d, n = x.ndim - 2, weight.shape[0]
    arguments = ([n], [1] * d, [1] * d, [1] * d, False, [0] * d, 1, [True] * 3)
    return torch.ops.aten.convolution_backward(grad, x, weight, *arguments)[0]


def torch_form(p: Problem, x: Tensor, weight: Tensor, bias: Tensor, index: Tensor, into_map: bool) -> Tensor:
    """Pad, unfold, index, convolve without padding, and index_put where a map is wanted."""
    d = x.ndim - 2
    windows = torch.nn.functional.pad(x, [1] * (2 * d))
    for axis, side in enumerate(p.tile):
        windows = windows.unfold(2 + axis, side + 2, side)
    where = torch.unravel_index(index.long(), tuple(windows.shape[2 : 2 + d]))
    chosen = (0, *where)
    tiles = windows.permute(0, *range(2, 2 + d), 1, *range(2 + d, 2 + 2 * d))[chosen]
    if p.channels_last:
        tiles, weight = (t.contiguous(memory_format=p.last) for t in (tiles, weight))
    function = torch.nn.functional.conv2d if d == 2 else torch.nn.functional.conv3d
    out = function(tiles, weight, bias)
    if not into_map:
        return out
    grid = [s // t for s, t in zip(x.shape[2:], p.tile, strict=True)]
    full = out.new_zeros(*grid, out.shape[1], *p.tile).index_put(where, out)
    order = [d, *(v for i in range(d) for v in (i, d + 1 + i))]
    return full.permute(order).reshape(1, out.shape[1], *x.shape[2:])


def compare(name: str, found: Tensor, expected: Tensor) -> None:
    """Raises if two results differ."""
    error = ((found - expected).norm() / expected.norm().clamp(min=1e-30)).item()
    if not error < 1e-4:
        raise RuntimeError(f"{name} differs by {error:.1e}")


def peers(p: Problem, function: Callable[..., Tensor], maps: Sequence[Tensor], *others: Tensor) -> Functions:
    """The dense peer in the format of its maps, and for contiguous maps also by way of channels-last."""
    packed = [t.contiguous(memory_format=p.last) if t.ndim == p.x.ndim else t for t in others]
    if p.channels_last:
        return {"dense": partial(function, *maps, *packed)}

    def converted() -> Tensor:
        return function(*(t.contiguous(memory_format=p.last) for t in maps), *packed).contiguous()

    return {"dense": partial(function, *maps, *others), "dense converted": converted}


def forward_functions(p: Problem, index: dict[str, Tensor]) -> Functions:
    """What to time in the forward direction."""
    functions = peers(p, dense, [p.x], p.weight, p.bias)
    for name, at in index.items():
        as_map = ", map" in name
        ours = partial(block_conv, p.x, p.weight, p.bias, at, p.tile, packed=not as_map)
        form = partial(torch_form, p, p.x, p.weight, p.bias, at, as_map)
        compare(f"forward {name}", ours(), form())
        functions |= {f"ours {name}": ours, f"torch {name}": form}
    return functions


def backward_functions(p: Problem, index: dict[str, Tensor]) -> Functions:
    """What to time in the backward direction: data, weight and bias gradient."""
    functions = peers(p, dense_backward, [torch.randn_like(p.x), p.x], p.weight)
    for name, at in index.items():
        as_map = ", map" in name
        x, weight, bias = leaves = [t.detach().requires_grad_() for t in (p.x, p.weight, p.bias)]
        out = torch_form(p, x, weight, bias, at, as_map)
        grad = torch.randn_like(out, memory_format=p.last if p.channels_last else torch.contiguous_format)
        arguments = (grad, p.x, p.weight, at, p.tile, False, not as_map, True, True, True)
        ours = partial(torch.ops.medseg.block_conv_backward, *arguments)
        form = partial(torch.autograd.grad, out, leaves, grad, retain_graph=True)
        for part, found, expected in zip(("dx", "dweight", "dbias"), ours(), form(), strict=True):
            compare(f"{part} {name}", found, expected)
        functions |= {f"ours {name}": ours, f"torch {name}": form}
    return functions


def row_of(times: dict[str, harness.Timing], name: str, fraction: float) -> harness.Row:
    """Times of ours and of the dense peer, and their ratio against the ideal."""
    best = min((t for key, t in times.items() if key.startswith("dense")), key=lambda t: t.median_ms)
    ours = times[f"ours {name}"]
    return {
        "f": fraction,
        "ours_ms": ours.median_ms,
        "spread_ms": ours.spread_ms,
        "dense_ms": best.median_ms,
        "speed_up": best.median_ms / ours.median_ms,
        "of_ideal_%": 100 * fraction * best.median_ms / ours.median_ms,
        "torch_form_ratio": times[f"torch {name}"].median_ms / ours.median_ms,
    }


def judge(row: harness.Row, channels: int) -> None:
    """Adds the bars that apply to the row, and whether they are met."""
    bars, met = ["ahead of torch form"], row["torch_form_ratio"] > 1
    if row["tiles"] == "CT, packed" and row["f"] <= BAR_UP_TO + 0.01 and channels >= BAR_CHANNELS:
        bar = FORWARD_BAR if row["direction"] == "forward" else BACKWARD_BAR
        bars.append(f">= {bar:g} % of ideal")
        met = met and row["of_ideal_%"] >= bar
    if row["tiles"] == "CT, packed" and row["f"] > BAR_UP_TO + 0.01:
        bars.append("speed-up >= 1")
        met = met and row["speed_up"] >= 1
    row |= {"bar": ", ".join(bars), "pass": met}


def measure(case: tuple[int, tuple[int, ...]], last: bool, scan: np.ndarray | None, quick: bool) -> list[harness.Row]:
    """All rows of one map and memory format."""
    channels, sizes = case
    p = make_problem(channels, sizes, last)
    scores = scan_scores(scan, p)
    index = {f"CT, packed {f}": active_tiles(scores, f) for f in (QUICK_FRACTIONS if quick else FRACTIONS)}
    index["CT, map 0.25"] = active_tiles(scores, 0.25)
    index["random, packed 0.1"] = active_tiles(torch.rand(p.tiles, generator=torch.Generator().manual_seed(2)), 0.1)
    rows = []
    for direction, make in (("forward", forward_functions), ("backward", backward_functions)):
        functions = make(p, index)
        repeats, seconds = (5, 3) if quick else (15, 10)
        times = harness.time_interleaved(functions, repeats, seconds, settle=True)
        for name, at in index.items():
            row: harness.Row = {
                "case": f"{channels}ch {'x'.join(map(str, sizes))}",
                "format": "channels-last" if last else "contiguous",
                "threads": torch.get_num_threads(),
                "direction": direction,
                "tiles": name.rsplit(" ", 1)[0],
                **row_of(times, name, len(at) / p.tiles),
            }
            judge(row, channels)
            rows.append(row)
    return rows


def main() -> int:
    """Runs the benchmark; returns the exit status."""
    options = harness.arguments(__doc__)
    counts = [options.threads] if options.threads else [t for t in (1, 2) if t <= (os.cpu_count() or 1)]
    allocation = "fresh output in every call, after an untimed call of the same function"
    head = harness.header(counts[-1], allocation, medseg_ops=status()["block_conv"]["cpu"])
    scan, folder = None, os.environ.get("MEDSEG_DATA")
    if folder:
        scan = np.clip(read_nifti(Path(folder) / SCAN).array.astype(np.float32), -160, 240)
    rows = []
    for threads in counts:
        torch.set_num_threads(threads)
        for case in QUICK_CASES if options.quick else CASES:
            for last in (True, False):
                rows += measure(case, last, scan, options.quick)
                print(f"# {rows[-1]['case']} {rows[-1]['format']} with {threads} threads done", file=sys.stderr)
    notes = [
        f"Active tiles from {SCAN if folder else 'random scores: MEDSEG_DATA is not set'}; tile 16 x 16 or 8 x 8 x 8."
    ]
    return harness.finish(options, head, rows, notes)


if __name__ == "__main__":
    sys.exit(main())
