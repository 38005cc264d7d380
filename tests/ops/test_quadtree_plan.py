"""quadtree_plan: the variation of blocks, and the lists of tiles that vary most."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medseg.ops import last_backend, quadtree_plan, quadtree_select
from medseg.ops._quadtree_reference import reference_scores, reference_select
from tests.ops import _quadtree_oracle as oracle
from tests.ops.conftest import run_python

SPACING = (2.5, 0.8, 0.7)
CASES = [
    ((16, 16), ((4, 4), (8, 8))),
    ((37, 21), ((2, 2), (4, 4), (8, 8))),
    ((9, 13, 17), ((2, 2, 2), (4, 2, 4))),
    ((1, 30), ((1, 4), (1, 8))),
    ((5, 7, 40), ((1, 1, 2), (1, 2, 4), (1, 2, 8))),
]
METRICS = [("gradient", "max"), ("gradient", "mean"), ("variance", "max"), ("range", "max"), ("entropy", "max")]


def image(size: tuple[int, ...], channels: int = 2, batch: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(size))
    return torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64).to(dtype)


def some(grids: tuple[tuple[int, ...], ...]) -> list[int]:
    """A budget that bites in every round."""
    return [max(1, math.prod(g) // 2 ** (r + 1)) for r, g in enumerate(grids)]


def lists(index: Tensor, count: Tensor) -> list[list[int]]:
    return [row[:n].tolist() for row, n in zip(index, count, strict=True)]


@pytest.mark.parametrize(("metric", "reduce"), METRICS)
@pytest.mark.parametrize(("size", "grids"), CASES, ids=str)
class TestAgainstTheOracle:
    def test_scores(self, size, grids, metric: str, reduce: str) -> None:
        spacing = SPACING[-len(size) :]
        x = image(size)
        *_, score = quadtree_plan(x, grids, some(grids), (), metric, reduce, spacing)
        expected = oracle.scores(x.numpy(), grids, metric, reduce, spacing)
        np.testing.assert_allclose(score.numpy(), expected, rtol=1e-12, atol=1e-12)

    def test_reference_scores(self, size, grids, metric: str, reduce: str) -> None:
        spacing = SPACING[-len(size) :]
        x = image(size)
        score = reference_scores(x, grids, metric, reduce, spacing)
        expected = oracle.scores(x.numpy(), grids, metric, reduce, spacing)
        np.testing.assert_allclose(score.numpy(), expected, rtol=1e-12, atol=1e-12)

    def test_float32(self, size, grids, metric: str, reduce: str) -> None:
        x = image(size, dtype=torch.float32)
        *_, score = quadtree_plan(x, grids, some(grids), (), metric, reduce)
        *_, exact = quadtree_plan(x.double(), grids, some(grids), (), metric, reduce)
        torch.testing.assert_close(score.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("limit", [(), (1.0, 1.2, 1.4)], ids=["budget", "limit"])
@pytest.mark.parametrize(("size", "grids"), CASES, ids=str)
def test_selection_equals_the_oracle(size, grids, limit) -> None:
    limit = limit[: len(grids)]
    index, count, mask, score = quadtree_plan(image(size), grids, some(grids), limit)
    expected = oracle.select(score.numpy(), size, grids, some(grids), limit)
    assert lists(index, count) == expected
    assert [m.flatten().nonzero()[:, 0].tolist() for m in mask] == expected
    again = quadtree_select(score, size, grids, some(grids), limit)
    for other in (again, reference_select(score, size, grids, some(grids), limit)):
        assert all(torch.equal(a, b) for a, b in zip((index, count, mask), other, strict=True))


class TestRules:
    def test_a_tie_goes_to_the_lowest_index(self) -> None:
        index, count, *_ = quadtree_select(torch.zeros(2, 16), (8, 8), ((4, 4),), (3,))
        assert index.tolist() == [[0, 1, 2, 16, 17, 18]]
        assert count.tolist() == [6]

    def test_nan_is_kept_first_and_passes_every_limit(self) -> None:
        score = torch.arange(16.0)[None]
        score[0, 5] = torch.nan
        assert lists(*quadtree_select(score, (8, 8), ((4, 4),), (2,))[:2]) == [[5, 15]]
        assert lists(*quadtree_select(score, (8, 8), ((4, 4),), (16,), (14.5,))[:2]) == [[5, 15]]

    def test_a_broken_voxel_shows_in_its_block(self) -> None:
        x = torch.zeros(1, 1, 16, 16)
        x[0, 0, 8, 2] = torch.nan
        for metric in ("gradient", "variance", "range"):
            *_, score = quadtree_plan(x, ((4, 4),), (1,), (), metric)
            assert score[0].isnan().nonzero()[:, 0].tolist() == ([4, 8] if metric == "gradient" else [8])
        assert quadtree_plan(x, ((4, 4),), (1,), (), "entropy")[3].isnan().all()

    def test_a_constant_image_varies_nowhere(self) -> None:
        x = torch.full((1, 1, 24, 24), 3.0)
        for metric, reduce in METRICS:
            *_, score = quadtree_plan(x, ((2, 2), (4, 4)), (4, 16), (), metric, reduce)
            assert score.abs().max() == 0

    def test_the_most_varying_channel_decides(self) -> None:
        x = image((16, 16), channels=3)
        *_, score = quadtree_plan(x, ((4, 4),), (1,))
        parts = [quadtree_plan(x[:, c : c + 1], ((4, 4),), (1,))[3] for c in range(3)]
        assert torch.equal(score, torch.stack(parts).amax(0))

    def test_halving_the_spacing_doubles_the_gradient(self) -> None:
        x = image((16, 24))
        *_, one = quadtree_plan(x, ((4, 4),), (1,), spacing=(1.0, 1.0))
        *_, half = quadtree_plan(x, ((4, 4),), (1,), spacing=(0.5, 0.5))
        torch.testing.assert_close(half, 2 * one)

    def test_no_sample_gives_empty_lists(self) -> None:
        index, count, mask, score = quadtree_plan(image((16, 16), batch=0), ((4, 4), (8, 8)), (4, 8))
        assert (index.shape, count.tolist(), mask.shape, score.shape) == ((2, 0), [0, 0], (2, 0, 8, 8), (0, 80))


@pytest.mark.parametrize("channels", [1, 3, 5, 17, 24])
def test_strides_do_not_matter(channels: int) -> None:
    x = image((12, 20), channels, dtype=torch.float32)
    grids = ((2, 2), (4, 4))
    expected = quadtree_plan(x, grids, (2, 4))
    for other in (x.to(memory_format=torch.channels_last), x.mT.contiguous().mT, torch.stack([x, x], -1)[..., 1]):
        assert not other.is_contiguous() or channels == 1
        assert all(torch.equal(a, b) for a, b in zip(quadtree_plan(other, grids, (2, 4)), expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_16_bit_images_are_computed_in_float32(dtype: torch.dtype) -> None:
    x = image((16, 16)).to(dtype)
    *_, score = quadtree_plan(x, ((4, 4),), (2,))
    assert score.dtype == torch.float32
    assert torch.equal(score, quadtree_plan(x.float(), ((4, 4),), (2,))[3])


@pytest.mark.parametrize("metric", ["gradient", "variance", "range", "entropy"])
def test_the_number_of_threads_changes_no_bit(metric: str) -> None:
    x = image((200, 300), channels=1, batch=3, dtype=torch.float32)
    grids = ((4, 4), (8, 8), (16, 16))
    threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            results.append(quadtree_plan(x, grids, (8, 16, 32), (), metric))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_compiled_code_runs(compiled: None) -> None:
    quadtree_plan(image((16, 16)), ((4, 4),), (2,))
    assert last_backend("quadtree_plan") == "cpu:generic64"
    quadtree_select(torch.zeros(1, 16, dtype=torch.float64), (8, 8), ((4, 4),), (3,))
    assert last_backend("quadtree_select") == "cpu:generic64"


def test_every_instruction_set_gives_the_same_bits(compiled: None) -> None:
    code = (
        "import torch; from medseg.ops import quadtree_plan, last_backend; torch.manual_seed(0)\n"
        "x = torch.randn(1, 2, 45, 83); g = ((2, 2), (4, 4), (8, 8)); total = []\n"
        "for m, r in (('gradient', 'max'), ('gradient', 'mean'), ('variance', 'max'), ('range', 'max')):\n"
        "    total.append(quadtree_plan(x, g, (2, 8, 20), (), m, r)[3].view(torch.int32).long().sum().item())\n"
        "print(last_backend('quadtree_plan'), total)"
    )
    answers = {}
    for isa in ("generic", "avx2", "avx512"):
        done = run_python(code, MEDSEG_ISA=isa)
        if done.returncode and "does not support it" in done.stderr:
            continue
        assert done.returncode == 0, done.stderr[-2000:]
        backend, total = done.stdout.split(" ", 1)
        assert backend == f"cpu:{isa}"
        answers[isa] = total
    assert len(set(answers.values())) == 1, answers


class Plan(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        index, count, mask, score = quadtree_plan(torch.relu(x), ((2, 2), (4, 4)), (2, 4))
        return index, count, mask, *quadtree_select(score * 2, (16, 16), ((2, 2), (4, 4)), (2, 4))


def test_opcheck() -> None:
    x = image((16, 16), dtype=torch.float32)
    *_, score = quadtree_plan(x, ((4, 4),), (3,))
    torch.library.opcheck(torch.ops.medseg.quadtree_plan.default, (x, [4, 4], [3], [0.1], 0, [1.0, 1.0]))
    torch.library.opcheck(torch.ops.medseg.quadtree_select.default, (score, [16, 16], [4, 4], [3], []))


def test_compiled_with_full_graph_and_exported_with_a_free_batch_size() -> None:
    x = image((16, 16), dtype=torch.float32)
    expected = Plan()(x)
    found = torch.compile(Plan(), backend="aot_eager", fullgraph=True)(x)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Plan(), (x,), dynamic_shapes=({0: batch},))
    other = image((16, 16), batch=5, dtype=torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(program.module()(other), Plan()(other), strict=True))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x": torch.zeros(1, 16, 16)}, r"x has shape \[1, 16, 16\]"),
        ({"x": torch.zeros(1, 1, 0, 16)}, r"none empty"),
        ({"grids": ((4, 4), (6, 8))}, "each a multiple of the round before"),
        ({"grids": ((4, 4, 4), (8, 8, 8))}, "expected 2 axes"),
        ({"keep": (1,)}, r"keep is \[1\]; expected 2 numbers"),
        ({"limit": (1.0,)}, "expected 2 numbers or none"),
        ({"metric": "contrast"}, "expected one of gradient, variance, range, entropy"),
        ({"reduce": "sum"}, "expected one of max, mean"),
        ({"spacing": (1.0, 0.0)}, "expected 2 positive numbers"),
    ],
)
def test_bad_input_is_one_clear_line(change: dict, sentence: str) -> None:
    arguments = {"x": torch.zeros(1, 1, 16, 16), "grids": ((4, 4), (8, 8)), "keep": (2, 4)} | change
    with pytest.raises(ValueError, match=sentence):
        quadtree_plan(**arguments)


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"x is torch\.int64; expected float16"):
        quadtree_plan(torch.zeros(1, 1, 8, 8, dtype=torch.int64), ((2, 2),), (1,))
