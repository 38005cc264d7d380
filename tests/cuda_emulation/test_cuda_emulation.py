"""The CUDA kernels without a GPU: emulated in three orders, under sanitizers, and compared with register ceilings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import require_or_skip
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

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SCORE_SHAPES, ids=str)
def test_score_argmax_kernels_equal_plain_pytorch_in_every_thread_order(emulation, shape, dtype) -> None:
    assert compare_scores(emulation, shape, dtype) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SELECT_SHAPES[:3], ids=str)
@pytest.mark.parametrize("max_grad", [True, False])
def test_patch_select_kernels_equal_plain_pytorch_in_every_thread_order(emulation, shape, dtype, max_grad) -> None:
    assert compare_selection(emulation, shape, dtype, max_grad) < TOLERANCE[dtype]


def test_sums_over_more_than_one_split_of_patches_equal_plain_pytorch(library: Emulation) -> None:
    assert compare_selection(library, SELECT_SHAPES[3], torch.float32, True) < TOLERANCE[torch.float32]


def test_results_are_equal_to_the_bit_in_every_thread_order(library: Emulation) -> None:
    generator = torch.Generator().manual_seed(0)
    keys, queries = torch.randn(1, 300, 5, generator=generator), torch.randn(75, 5, generator=generator)
    grad = torch.randn(1, 75, generator=generator)
    results = []
    for order in ORDERS:
        library.set_order(order)
        index, score = library.score_argmax(keys, queries)
        results.append((index, score, *library.score_argmax_backward(grad, keys, queries, index)))
    library.set_order("forward")
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_tie_goes_to_the_lowest_index_across_threads_and_splits(emulation: Emulation) -> None:
    keys = torch.zeros(1, 600, 2)
    keys[0, [131, 7, 599, 300]] = 1.0
    index, score = emulation.score_argmax(keys, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert index.tolist() == [[7, 0]]
    assert score.tolist() == [[2.0, 0.0]]


def test_the_first_nan_wins_across_threads_and_splits(emulation: Emulation) -> None:
    keys = torch.ones(1, 600, 1)
    keys[0, [450, 211]] = torch.nan
    index, score = emulation.score_argmax(keys, torch.ones(3, 1))
    assert index.tolist() == [[211, 211, 211]]
    assert score.isnan().all()


def test_all_scores_minus_infinity_choose_the_first_key(emulation: Emulation) -> None:
    index, score = emulation.score_argmax(torch.full((1, 300, 1), -torch.inf), torch.ones(2, 1))
    assert index.tolist() == [[0, 0]]
    assert score.tolist() == [[-torch.inf, -torch.inf]]


def test_a_missing_barrier_gives_order_dependent_results(library: Emulation) -> None:
    x = torch.arange(256.0)
    sums = {}
    for order in ORDERS:
        library.set_order(order)
        sums[order] = library.planted_bug(x).item()
    library.set_order("forward")
    assert len(set(sums.values())) > 1
    assert any(value != x.sum().item() for value in sums.values())


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["thread", "address"])
def test_kernels_are_clean_under_the_sanitizer(tmp_path: Path, flavour: str) -> None:
    require_or_skip("nvcc", toolchain.compiler() is not None, "no C++ compiler")
    program = toolchain.build_emulation(tmp_path, flavour)
    done = toolchain.run_program(program)
    assert done.returncode == 0, done.stderr[-3000:]
    if flavour == "thread":
        caught = toolchain.run_program(program, "bug")
        assert caught.returncode != 0
        assert "data race" in caught.stderr
        assert "planted_bug_kernel" in caught.stderr


@pytest.mark.slow
def test_every_kernel_stays_below_its_ceiling(tmp_path: Path) -> None:
    require_or_skip("nvcc", toolchain.nvcc() is not None, "nvcc is not installed")
    uses = toolchain.compile_all_cubins(tmp_path)
    assert {use.architecture for use in uses} == set(toolchain.ARCHITECTURES)
    assert toolchain.violations(uses, toolchain.read_ceilings()) == []


def test_a_spill_an_unlisted_kernel_and_a_fat_kernel_are_violations() -> None:
    use = toolchain.KernelUse("k<float>", "sm_80", 65, 50000, 8)
    assert len(toolchain.violations([use], {("k<float>", "sm_80"): 64})) == 3
    assert toolchain.violations([use._replace(shared_bytes=0, spill_bytes=0)], {}) == [
        "k<float> on sm_80 uses 65 registers and has no line in ceilings.txt"
    ]
