"""The learned evaluator: its plans, the gradient of its gates, exploration, and its cost."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from medseg.layers import LearnedEvaluator
from medseg.layers.block_evaluator import cell_means
from medseg.partition import BlockPlan, PlanSettings, block_layout, candidate_blocks, kept_blocks


def image(size: tuple[int, ...], channels: int = 4, batch: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize(
    ("size", "cell"), [((16, 24), (4, 2)), ((16, 24), (1, 1)), ((17, 22), (4, 4)), ((8, 12, 10), (2, 4, 5))], ids=str
)
def test_cells_are_averaged_alike_in_every_layout(size: tuple[int, ...], cell: tuple[int, ...], last: bool) -> None:
    x = image(size).double()
    layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
    found = cell_means(x.contiguous(memory_format=layout) if last else x, cell)
    starts = [range(0, s, c) for s, c in zip(size, cell, strict=True)]
    assert found.shape == (2, 4, *map(len, starts))
    for at in itertools.product(*(range(len(r)) for r in starts)):
        box = tuple(slice(r[i], r[i] + c) for r, i, c in zip(starts, at, cell, strict=True))
        expected = x[(..., *box)].flatten(2).mean(2)
        torch.testing.assert_close(found[(..., *at)], expected)


@pytest.mark.parametrize("size", [(64, 64), (50, 70), (24, 32, 20)], ids=str)
def test_the_budget_is_kept_exactly(size: tuple[int, ...]) -> None:
    settings = PlanSettings(rounds=2, root=2, budget=(0.5, 0.25))
    out = LearnedEvaluator(len(size), 4, settings)(image(size))
    layout = block_layout(size, settings)
    kept = kept_blocks(out.plan, layout)
    assert [k.flatten(1).sum(1).tolist() for k in kept] == [[n, n] for n in layout.keep]
    torch.testing.assert_close(
        out.kept, torch.tensor([k / n for k, n in zip(layout.keep, layout.block_counts, strict=True)])
    )


@pytest.mark.parametrize("select", ["budget", "threshold"])
def test_gates_are_one_inside_the_sets_and_zero_outside(select: str) -> None:
    out = LearnedEvaluator(2, 4, PlanSettings(root=2), select)(image((50, 70)))
    assert out.gate is not None
    torch.testing.assert_close(out.gate, out.plan.mask.flatten(1).float())


def test_the_gate_has_the_slope_of_the_sigmoid() -> None:
    evaluator = LearnedEvaluator(2, 4, PlanSettings(rounds=1, root=2, budget=(0.5,)), "threshold", temperature=0.7)
    evaluator.eval()
    x = image((16, 16), batch=1)
    out = evaluator(x)
    assert out.gate is not None and evaluator.threshold is not None
    weight = torch.linspace(-1, 1, out.gate.numel())[None]
    (slope,) = torch.autograd.grad((out.gate * weight).sum(), evaluator.threshold)
    cells = evaluator.cell_scores(x, block_layout((16, 16), evaluator.settings))
    s = torch.sigmoid(torch.nn.functional.max_pool2d(cells, 2).flatten() / 0.7)
    torch.testing.assert_close(slope, -(weight[0] * s * (1 - s) / 0.7).sum()[None])


def test_blocks_that_were_no_candidate_have_no_gradient() -> None:
    settings = PlanSettings(rounds=2, root=2, budget=(0.25, 0.125))
    evaluator = LearnedEvaluator(2, 4, settings)
    cells: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        output.retain_grad()
        cells.append(output)

    evaluator.net.register_forward_hook(keep)
    x = image((64, 64), batch=1)
    out = evaluator(x)
    assert out.gate is not None
    out.gate[1].sum().backward()
    layout = block_layout((64, 64), settings)
    candidate = candidate_blocks(kept_blocks(out.plan, layout), layout)[1][0]
    moved = cells[0].grad
    assert moved is not None
    blocks = moved.abs().reshape(8, moved.shape[2] // 8, 8, moved.shape[3] // 8).amax((1, 3))
    assert torch.equal(blocks > 0, candidate)


def test_no_gradient_flows_into_the_map() -> None:
    x = image((64, 64)).requires_grad_()
    out = LearnedEvaluator(2, 4)(x)
    assert out.gate is not None
    out.gate.sum().backward()
    assert x.grad is None


class TestExploration:
    def rejected(self, plan: BlockPlan, settings: PlanSettings) -> list[Tensor]:
        layout = block_layout((64, 64), settings)
        kept = kept_blocks(plan, layout)
        return [c & ~k for k, c in zip(kept, candidate_blocks(kept, layout), strict=True)]

    @pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
    def test_draws_its_share_of_the_rejected_blocks(self, share: float) -> None:
        settings = PlanSettings(rounds=2, root=4, budget=(0.5, 0.25))
        evaluator = LearnedEvaluator(2, 4, settings, explore=share)
        out = evaluator(image((64, 64)))
        for r, (row, rejected) in enumerate(zip(out.explore, self.rejected(out.plan, settings), strict=True)):
            tiles = torch.zeros(out.plan.mask[0].numel(), dtype=torch.bool)
            tiles[row[row >= 0].long()] = True
            side = 2 // 2**r
            chosen = tiles.reshape(2, 8 << r, side, 8 << r, side)
            assert torch.equal(chosen.any(4).any(2), chosen.all(4).all(2))
            chosen = chosen.any(4).any(2)
            assert not (chosen & ~rejected).any()
            wanted = [math.ceil(share * n - 1e-6) for n in rejected.flatten(1).sum(1).tolist()]
            assert chosen.flatten(1).sum(1).tolist() == wanted
            assert torch.equal(row[row >= 0], row[row >= 0].sort().values)

    def test_repeats_under_a_seed_and_is_off_in_evaluation(self) -> None:
        evaluator, x = LearnedEvaluator(2, 4), image((64, 64))
        draws = [evaluator(x, torch.Generator().manual_seed(s)).explore for s in (0, 0, 1)]
        assert torch.equal(draws[0], draws[1])
        assert not torch.equal(draws[0], draws[2])
        assert evaluator.eval()(x).explore.shape == (3, 0)


@pytest.mark.parametrize("select", ["budget", "threshold"])
def test_without_gradients_the_plan_and_the_shares_are_the_same_and_there_is_no_gate(select: str) -> None:
    evaluator, x = LearnedEvaluator(2, 4, select=select).eval(), image((64, 64))
    with torch.no_grad():
        found = evaluator(x)
    expected = evaluator(x)
    assert found.gate is None
    assert torch.equal(found.plan.index, expected.plan.index)
    torch.testing.assert_close(found.kept, expected.kept.detach())


@pytest.mark.parametrize("target", [(0.5, 0.25), (0.2, 0.1)], ids=str)
def test_the_penalty_brings_learned_thresholds_to_their_target(target: tuple[float, float]) -> None:
    torch.manual_seed(0)
    evaluator = LearnedEvaluator(2, 4, PlanSettings(rounds=2, root=4, budget=target), "threshold", temperature=0.5)
    optimiser = torch.optim.Adam(evaluator.parameters(), lr=0.02)
    x = image((64, 64), batch=4)
    for _ in range(150):
        optimiser.zero_grad()
        evaluator.cost_penalty(evaluator(x).kept).backward()
        optimiser.step()
    kept = evaluator(x).kept.detach()
    assert ((kept - torch.tensor(target)).abs() <= 0.2 * torch.tensor(target)).all(), kept


def test_the_cost_penalty_of_16_bit_shares_does_not_overflow() -> None:
    evaluator = LearnedEvaluator(2, 16, PlanSettings(rounds=2, root=2, budget=(0.001, 0.001)))
    kept = torch.ones(2)
    torch.testing.assert_close(evaluator.cost_penalty(kept.half()), evaluator.cost_penalty(kept))


@pytest.mark.parametrize(("channels", "size"), [(16, (64, 64)), (32, (256, 256)), (32, (96, 96, 96))], ids=str)
def test_it_costs_at_most_a_twentieth_of_the_dense_layer(channels: int, size: tuple[int, ...]) -> None:
    evaluator = LearnedEvaluator(len(size), channels)
    counted = 0

    def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal counted
        counted += output[0].numel() * module.weight[0].numel()  # type: ignore[union-attr,index]

    for module in evaluator.net:
        if hasattr(module, "kernel_size"):
            module.register_forward_hook(count)
    evaluator(torch.zeros(1, channels, *size))
    assert counted == evaluator.macs(size)
    assert counted <= 0.05 * 3 * channels**2 * 3 ** len(size) * math.prod(size)


def test_compiled_with_full_graph() -> None:
    evaluator, x = LearnedEvaluator(2, 4).eval(), image((64, 64))
    found = torch.compile(evaluator, backend="aot_eager", fullgraph=True)(x)
    expected = evaluator(x)
    assert torch.equal(found.plan.index, expected.plan.index)
    assert torch.equal(found.gate, expected.gate)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"select": "top"}, "expected one of budget, threshold"),
        ({"temperature": 0.0}, "expected a number above 0"),
        ({"explore": 1.5}, "expected a share from 0 to 1"),
        ({"settings": PlanSettings(threshold=0.5)}, "needs a budget"),
    ],
)
def test_bad_settings_are_one_clear_line(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        LearnedEvaluator(2, 4, **options)


def test_a_map_of_other_channels_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match=r"x has shape \[2, 3, 64, 64\]; expected \[B, 4, \*S\]"):
        LearnedEvaluator(2, 4)(image((64, 64), 3))
