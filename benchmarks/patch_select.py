"""patch_select against its literal definition, which stores the scores of all patches for all slots.

The peer is that definition in torch: scores S = W H^T, the selection as an autograd function with its surrogate
derivative, the output as a matrix product of the selection with the patches. Timed: forward and backward to map,
keys and queries, outputs and gradients compared first.
Memory: rise of the resident set of a fresh child process during one forward and backward pass. Bars: 5 times faster
from 4096 patches on; 4 times the patches take at most 4 times the memory (with 25 % for the granularity of
allocators); the evaluator's start equals the strided pick at every size.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import _harness as harness
from medseg.ops import patch_select, status

CHANNELS, PATCH, RANK = 32, 2, 16
PATCHES = (256, 1024, 4096, 16384)
SPEED_BAR, SPEED_FROM = 5.0, 4096
MEMORY_BAR, MEMORY_TOLERANCE = 4.0, 1.25

Tensors = tuple[Tensor, Tensor, Tensor]


class LiteralSelect(torch.autograd.Function):
    """1 at the maximum, 0 below; derivative 0 at the maximum, 0.1 below."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        """Selection of scores u relative to the maximum."""
        ctx.save_for_backward(u)
        return (u == 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Surrogate derivative."""
        (u,) = ctx.saved_tensors
        return grad * (u < 0).to(u.dtype) * 0.1


def literal(x: Tensor, keys: Tensor, queries: Tensor) -> Tensor:
    """The definition with all scores in memory."""
    batch, channels, height, width = x.shape
    rows, columns = height // PATCH, width // PATCH
    patches = x.view(batch, channels, rows, PATCH, columns, PATCH).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    scores = queries @ keys.transpose(1, 2)
    chosen = LiteralSelect.apply(scores - scores.max(2, keepdim=True).values) @ patches
    split = chosen.view(batch, rows // 2, columns // 2, channels, PATCH, PATCH)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, height // 2, width // 2)


def ours(x: Tensor, keys: Tensor, queries: Tensor) -> Tensor:
    """The op."""
    return patch_select(x, keys, queries, PATCH)[0]


def random_inputs(patches: int) -> Tensors:
    """Map, keys and queries to time with: random, so that no two scores tie within rounding."""
    generator = torch.Generator().manual_seed(patches)
    side = int(patches**0.5) * PATCH
    sizes = ((1, CHANNELS, side, side), (1, patches, RANK), (patches // 4, RANK))
    x, keys, queries = (torch.randn(size, generator=generator).requires_grad_() for size in sizes)
    return x, keys, queries


def initial_inputs(patches: int) -> Tensors:
    """Map, keys and queries of an untrained slot evaluator: content, y, x, y^2 + x^2 against 0, 2 y, 2 x, -1."""
    x, content, _ = random_inputs(patches)
    side = int(patches**0.5)
    axis = torch.arange(side) - (side - 1) / 2
    position = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    square = position.square().sum(2, keepdim=True)
    keys = torch.cat([content[0, :, :-3], torch.cat([position, square], dim=2).flatten(0, 1)], dim=1)[None]
    target = position[::2, ::2].flatten(0, 1)
    queries = torch.cat([torch.zeros(len(target), RANK - 3), 2 * target, -torch.ones(len(target), 1)], dim=1)
    return x, keys, queries


def pass_of(function: Callable[..., Tensor], tensors: Tensors) -> Callable[[], tuple[Tensor, ...]]:
    """One forward and backward pass, returning the output and all gradients."""
    shape = (*tensors[0].shape[:2], *(s // 2 for s in tensors[0].shape[2:]))
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))

    def run() -> tuple[Tensor, ...]:
        out = function(*tensors)
        return (out.detach(), *torch.autograd.grad(out, tensors, grad))

    return run


def strided_pick_is_equal(patches: int) -> bool:
    """Whether the evaluator's start picks every second patch along each axis."""
    x, keys, queries = initial_inputs(patches)
    side = int(patches**0.5)
    cut = x.view(1, CHANNELS, side, PATCH, side, PATCH)[:, :, ::2, :, ::2]
    return torch.equal(ours(x, keys, queries), cut.reshape(1, CHANNELS, side * PATCH // 2, side * PATCH // 2))


def compare(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], patches: int) -> None:
    """Raises if the two implementations disagree."""
    for name, a, b in zip(("output", "map gradient", "key gradient", "query gradient"), found, expected, strict=True):
        error = ((a - b).norm() / b.norm()).item()
        if not error < 1e-4:
            raise RuntimeError(f"N = {patches}: the {name} differs from the literal definition by {error:.1e}")


def memory(who: str, patches: int) -> float:
    """Rise of the resident set in MiB, measured in this process."""
    function = {"ours": ours, "peer": literal}[who]
    pass_of(function, random_inputs(16))()  # loads everything that is loaded once
    return harness.peak_rise_mb(pass_of(function, random_inputs(patches)))


def child_memory(who: str, patches: int) -> float:
    """`memory` of a fresh process."""
    return float(
        harness.in_child("benchmarks.patch_select", "--memory-of", who, str(patches), str(torch.get_num_threads()))
    )


def measure(patches: int, quick: bool) -> harness.Row:
    """One row of the table."""
    tensors = random_inputs(patches)
    functions = {"ours": pass_of(ours, tensors)}
    row: harness.Row = {"case": f"N={patches}"}
    needed = 3 * 4 * patches * patches // 4
    if quick and patches == PATCHES[-1]:
        row["peer"] = "left out: --quick"
    elif needed > harness.available_bytes() // 2:
        row["peer"] = f"left out: needs {needed >> 20} MiB"
    else:
        functions["peer"] = pass_of(literal, tensors)
        compare(functions["ours"](), functions["peer"](), patches)
    times = harness.time_interleaved(functions, repeats=7 if quick else 31, most_seconds=4 if quick else 20)
    row |= {"ours_ms": times["ours"].median_ms, "ours_spread_ms": times["ours"].spread_ms}
    with_memory = not quick or patches >= SPEED_FROM
    if with_memory:
        row["peak_mb"] = child_memory("ours", patches)
    passed = True
    if "peer" in times:
        ratio = times["peer"].median_ms / times["ours"].median_ms
        row |= {
            "peer": "literal autograd",
            "peer_ms": times["peer"].median_ms,
            "peer_spread_ms": times["peer"].spread_ms,
        }
        row["ratio"] = ratio
        if with_memory:
            row["peer_peak_mb"] = child_memory("peer", patches)
        passed = patches < SPEED_FROM or ratio >= SPEED_BAR
    row["strided_pick_equal"] = strided_pick_is_equal(patches)
    bars = [f"ratio>={SPEED_BAR:g}"] if patches >= SPEED_FROM and "peer" in times else []
    row |= {"bar": ", ".join([*bars, "strided pick"]), "pass": passed and row["strided_pick_equal"]}
    return row


def memory_row(rows: list[harness.Row]) -> harness.Row:
    """Growth of the memory from 4096 to 16384 patches."""
    small, large = (next(r["peak_mb"] for r in rows if r["case"] == f"N={n}") for n in PATCHES[-2:])
    limit = MEMORY_BAR * MEMORY_TOLERANCE
    row = {"case": f"memory of N={PATCHES[-1]} / N={PATCHES[-2]}", "ratio": large / small}
    return {**row, "bar": f"<={limit:g}", "pass": large / small <= limit}


def main() -> int:
    """Runs the benchmark; returns the exit status."""
    if sys.argv[1:2] == ["--memory-of"]:
        torch.set_num_threads(int(sys.argv[4]))
        print(memory(sys.argv[2], int(sys.argv[3])))
        return 0
    options = harness.arguments(__doc__)
    head = harness.header(options.threads, "fresh output in every call", medseg_ops=status()["patch_select"]["cpu"])
    rows = [measure(patches, options.quick) for patches in PATCHES]
    rows.append(memory_row(rows))
    notes = [
        f"C = {CHANNELS}, patch {PATCH}, rank {RANK}, float32; forward + backward.",
        "Memory: child process.",
    ]
    return harness.finish(options, head, rows, notes)


if __name__ == "__main__":
    sys.exit(main())
