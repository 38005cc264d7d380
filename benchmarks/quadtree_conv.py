"""quadtree_conv as a whole layer, the plan inside: against dense stacks, mask-and-select and a copy per round.

Every round is a convolution and a ReLU on the blocks that a plan of a real CT chooses; maps come in and go out
contiguous, and every call allocates fresh outputs; each timed call follows an untimed one of the same function, as
in a loop. Peers: ``dense``, a full convolution in every round; ``mask-and-select``, the same, of which
``torch.where`` keeps the active blocks; ``copy per round``, block_conv on the active tiles written into a copy of
the map. Dense peers run in the faster of both memory layouts, conversion included. Ideal: the dense time multiplied
with the active share. Bars: 75 % of the ideal, forward, against dense; 3 times faster than mask-and-select up to a
mean density of 0.25; what is kept for the gradient is at most 1.3 times the active share of the maps; the learned
evaluator costs at most 5 % of the dense stack's multiply-adds and 10 % of the layer's time at a mean density of
0.25.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import _harness as harness
from medseg.io.volumes.nifti import read_nifti
from medseg.ops import block_conv, quadtree_conv, status
from medseg.partition import BlockPlan, PlanSettings, make_plan

IDEAL_BAR, MASK_BAR, MASK_DENSITY, KEPT_BAR = 75.0, 3.0, 0.25, 1.3
EVALUATOR_MACS_BAR, EVALUATOR_TIME_BAR = 5.0, 10.0

Run = Callable[[], tuple[Tensor, ...]]


class Case(NamedTuple):
    """Several densities of active tiles on one map; ``root`` is chosen so that tiles have 16, 8 (6 rounds) or 12 (3-D)
    pixels."""

    channels: int
    size: tuple[int, ...]
    budget: tuple[float, ...]
    root: int

    @property
    def name(self) -> str:
        """Name of the row."""
        return f"{self.channels}ch {'x'.join(map(str, self.size))} ({','.join(f'{b:g}' for b in self.budget)})"

    @property
    def settings(self) -> PlanSettings:
        """How the plan is made."""
        return PlanSettings(rounds=len(self.budget), root=self.root, budget=self.budget)


CASES = (
    Case(32, (256, 256), (1, 0.5, 0.25, 0.12), 1),
    Case(32, (512, 512), (1, 0.5, 0.25, 0.12), 2),
    Case(32, (512, 512), (0.5, 0.25, 0.12, 0.06), 2),
    Case(32, (512, 512), (0.25, 0.15, 0.08, 0.04, 0.02, 0.01), 1),
    Case(64, (256, 256), (1, 0.5, 0.25, 0.12), 1),
    Case(32, (96, 96, 96), (0.5, 0.25, 0.12), 1),
)
EVALUATOR_CASE = Case(32, (512, 512), (0.4375, 0.25, 0.0625), 4)


class Inputs(NamedTuple):
    """Map, kernels, guide and the settings of the plan."""

    x: Tensor
    weight: Tensor
    guide: Tensor
    case: Case

    def plan(self) -> BlockPlan:
        """A new plan of the guide."""
        return make_plan(self.guide, self.case.settings)


def real_ct() -> Tensor:
    """Abdominal CT ``[1, 1, D, H, W]`` in a soft-tissue window, 0 to 1."""
    root = os.environ.get("MEDSEG_DATA")
    if not root:
        sys.exit("benchmarks.quadtree_conv needs the public data: set MEDSEG_DATA to its folder")
    volume = read_nifti(Path(root) / "abdomen_totalseg" / "example_ct.nii.gz")
    values = torch.as_tensor(volume.array.copy()).float().permute(2, 1, 0)[None, None]
    return values.clamp(-160, 240).add(160).div(400).contiguous()


def inputs_of(case: Case, ct: Tensor) -> Inputs:
    """Random map and kernels, and the CT (2-D: its middle slice) resized to the map."""
    generator = torch.Generator().manual_seed(0)
    d = len(case.size)
    guide = ct if d == 3 else ct[:, :, ct.shape[2] // 2]
    guide = functional.interpolate(guide, case.size, mode="trilinear" if d == 3 else "bilinear", align_corners=False)
    x = torch.randn(1, case.channels, *case.size, generator=generator)
    weight = torch.randn(len(case.budget), case.channels, case.channels, *[3] * d, generator=generator)
    return Inputs(x, weight / math.sqrt(case.channels * 3**d / 2), guide.contiguous(), case)


def ours(i: Inputs) -> Tensor:
    """Plan and op."""
    plan = i.plan()
    return quadtree_conv(i.x, i.weight, index=plan.index, count=plan.count, grid=plan.grid)[0]


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Dense convolution of the map's rank."""
    return (functional.conv2d if x.ndim == 4 else functional.conv3d)(x, weight, padding=1)


def in_layout(x: Tensor, last: bool) -> Tensor:
    """The map channels-last, or as it is."""
    return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d) if last else x


def dense(i: Inputs, last: bool) -> Tensor:
    """Full convolutions."""
    y = in_layout(i.x, last)
    for weight in i.weight:
        y = functional.relu(convolve(y, weight), inplace=True)
    return y.contiguous()


def masks_of(i: Inputs, plan: BlockPlan) -> list[Tensor]:
    """Masks of the rounds at full resolution, ``[B, 1, *S]``."""
    return [functional.interpolate(m[:, None].float(), i.x.shape[2:], mode="nearest") > 0 for m in plan.mask]


def masked(i: Inputs, last: bool) -> Tensor:
    """Plan, full convolutions and a selection."""
    y = in_layout(i.x, last)
    for weight, mask in zip(i.weight, masks_of(i, i.plan()), strict=True):
        y = torch.where(mask, functional.relu(convolve(y, weight), inplace=True), y)
    return y.contiguous()


def copied(i: Inputs) -> Tensor:
    """Plan, active tiles, and a copy of the map per round."""
    plan = i.plan()
    tile = [-(-s // g) for s, g in zip(i.x.shape[2:], plan.grid, strict=True)]
    y = i.x
    for weight, row, count in zip(i.weight, plan.index, plan.count.tolist(), strict=True):
        tiles = functional.relu(block_conv(y, weight, None, row[:count], tile), inplace=True)
        y = y.clone()
        by_tile(y, tile, plan.grid)[torch.unravel_index(row[:count].long(), (len(y), *plan.grid))] = tiles
    return y


def by_tile(y: Tensor, tile: Sequence[int], grid: Sequence[int]) -> Tensor:
    """View ``[B, *grid, C, *tile]`` of a map that the grid divides."""
    d = len(tile)
    split = y.view(*y.shape[:2], *(v for pair in zip(grid, tile, strict=True) for v in pair))
    return split.permute(0, *range(2, 2 + 2 * d, 2), 1, *range(3, 3 + 2 * d, 2))


def pass_of(function: Callable[..., Tensor], i: Inputs, backward: bool, *options: bool) -> Run:
    """One forward pass, or forward and backward to map and kernels."""
    if not backward:

        def forward() -> tuple[Tensor, ...]:
            with torch.no_grad():
                return (function(i, *options),)

        return forward
    leaves = i._replace(x=i.x.clone().requires_grad_(), weight=i.weight.clone().requires_grad_())
    grad = torch.randn(i.x.shape, generator=torch.Generator().manual_seed(1))

    def both() -> tuple[Tensor, ...]:
        out = function(leaves, *options)
        return (out.detach(), *torch.autograd.grad(out, (leaves.x, leaves.weight), grad))

    return both


def compare(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], what: str) -> None:
    """Raises if two implementations disagree."""
    for name, a, b in zip(("output", "map gradient", "kernel gradient"), found, expected, strict=False):
        error = ((a - b).norm() / b.norm()).item()
        if not error < 1e-4:
            raise RuntimeError(f"{what}: the {name} differs by {error:.1e}")


def density(i: Inputs) -> float:
    """Mean active share of the rounds."""
    return torch.stack([m.float().mean() for m in masks_of(i, i.plan())]).mean().item()


def kept_share(i: Inputs) -> float:
    """Bytes kept for the gradient over those of the active share of the rounds' maps."""
    plan = i.plan()
    tile = [-(-s // g) for s, g in zip(i.x.shape[2:], plan.grid, strict=True)]
    lists = (plan.index, plan.count, plan.index[:, :0], tile, plan.count.tolist())
    op = torch.ops.medseg.quadtree_conv
    _, store, pre, _ = op(i.x, i.weight, None, None, None, None, *lists, 0, 1, 0.0, 0, 1e-5)
    return (store.nbytes + pre.nbytes) / (density(i) * len(i.weight) * i.x.nbytes)


def measure(i: Inputs, backward: bool, quick: bool) -> list[harness.Row]:
    """The rows of one map in one direction."""
    functions: dict[str, Run] = {"ours": pass_of(ours, i, backward), "copy per round": pass_of(copied, i, backward)}
    for name, function in (("dense", dense), ("mask-and-select", masked)):
        functions |= {f"{name} {last:d}": pass_of(function, i, backward, last) for last in (False, True)}
    found = functions["ours"]()
    for name in ("mask-and-select 1", "copy per round"):
        compare(found, functions[name](), f"{i.case.name}, {name}")
    repeats, seconds = (5, 5) if quick else (15, 30)
    times = harness.time_interleaved(functions, repeats, seconds, settle=True)
    mine, share = times["ours"], density(i)
    rows = []
    for peer in ("dense", "mask-and-select", "copy per round"):
        best = min((times[n] for n in times if n.startswith(peer)), key=lambda t: t.median_ms)
        ratio = best.median_ms / mine.median_ms
        row: harness.Row = {
            "case": f"{i.case.name} {'forward + backward' if backward else 'forward'}",
            "ours_ms": mine.median_ms,
            "ours_spread_ms": mine.spread_ms,
            "peer": peer,
            "peer_ms": best.median_ms,
            "ratio": ratio,
        }
        if peer == "dense":
            row |= {"ideal": 1 / share, "percent_of_ideal": 100 * ratio * share}
            if not backward:
                row |= {"bar": f">={IDEAL_BAR:g} % of ideal", "pass": 100 * ratio * share >= IDEAL_BAR}
        if peer == "mask-and-select" and share <= MASK_DENSITY:
            row |= {"bar": f"ratio>={MASK_BAR:g}", "pass": ratio >= MASK_BAR}
        rows.append(row)
    return rows


def memory_row(number: int, i: Inputs) -> harness.Row:
    """Peak of a forward and backward pass in child processes, and what is kept."""
    threads = str(torch.get_num_threads())
    peak = {who: harness.in_child("benchmarks.quadtree_conv", "--memory-of", who, str(number), threads) for who in PEAK}
    kept = kept_share(i)
    return {
        "case": f"{i.case.name} kept for the gradient / active share",
        "ratio": kept,
        "peak_mb": float(peak["ours"]),
        "peer": "dense",
        "peer_peak_mb": float(peak["dense"]),
        "bar": f"<={KEPT_BAR:g}",
        "pass": kept <= KEPT_BAR,
    }


PEAK: dict[str, Callable[[Inputs], Tensor]] = {"ours": ours, "dense": lambda i: dense(i, True)}


def memory(who: str, number: int) -> float:
    """Rise of the resident set in MiB, measured in this process."""
    ct = real_ct()
    pass_of(PEAK[who], inputs_of(Case(8, (32, 32), (0.5,), 2), ct), True)()  # loads everything that is loaded once
    return harness.peak_rise_mb(pass_of(PEAK[who], inputs_of(CASES[number], ct), True))


def plan_row(i: Inputs) -> harness.Row:
    """Time of the plan alone."""
    times = harness.time_interleaved({"plan": i.plan}, repeats=31, most_seconds=2)
    return {"case": f"{i.case.name} plan alone", "ours_ms": times["plan"].median_ms, "density": density(i)}


def evaluator_row(i: Inputs) -> harness.Row:
    """Share of the learned evaluator in the multiply-adds and in the time of a layer."""
    from medseg.layers.block_evaluator import LearnedEvaluator

    evaluator = LearnedEvaluator(2, i.case.channels, i.case.settings).eval()
    macs = 0

    def count(module: torch.nn.Module, _: object, out: Tensor) -> None:
        nonlocal macs
        if isinstance(module, torch.nn.Conv2d):
            macs += out.numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in evaluator.modules()]
    with torch.no_grad():
        plan = evaluator(i.x).plan
    for hook in hooks:
        hook.remove()
    share = 100 * macs / (i.x.numel() * i.weight[0, 0].numel() * len(i.weight))

    def layer() -> Tensor:
        return quadtree_conv(i.x, i.weight, index=plan.index, count=plan.count, grid=plan.grid)[0]

    with torch.no_grad():
        times = harness.time_interleaved({"evaluator": lambda: evaluator(i.x), "layer": layer}, 31, 4, settle=True)
    alone, rest = times["evaluator"].median_ms, times["layer"].median_ms
    percent = 100 * alone / (alone + rest)
    return {
        "case": f"{i.case.name} learned evaluator: {share:.1f} % of dense multiply-adds, {percent:.1f} % of the time",
        "ours_ms": alone,
        "bar": f"<={EVALUATOR_MACS_BAR:g} %, <={EVALUATOR_TIME_BAR:g} %",
        "pass": share <= EVALUATOR_MACS_BAR and percent <= EVALUATOR_TIME_BAR,
    }


def main() -> int:
    """Runs the benchmark; returns the exit status."""
    if sys.argv[1:2] == ["--memory-of"]:
        torch.set_num_threads(int(sys.argv[4]))
        print(memory(sys.argv[2], int(sys.argv[3])))
        return 0
    options = harness.arguments(__doc__)
    allocation = "fresh output in every call, after an untimed call of the same function"
    head = harness.header(options.threads, allocation, medseg_ops=status()["quadtree_conv"]["cpu"])
    ct, rows = real_ct(), []
    for number, case in enumerate(CASES):
        if options.quick and number not in (0, 3):
            continue
        i = inputs_of(case, ct)
        rows.append(plan_row(i))
        for backward in (False, True):
            rows += measure(i, backward, options.quick)
        if not options.quick:
            rows.append(memory_row(number, i))
    rows.append(evaluator_row(inputs_of(EVALUATOR_CASE, ct)))
    notes = ["float32; 3 x 3 (x 3) kernels, no bias. Guide: a slice of a real abdominal CT, or its volume, resized."]
    return harness.finish(options, head, rows, notes)


if __name__ == "__main__":
    sys.exit(main())
