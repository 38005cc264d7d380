"""The CUDA kernels of patch_select_shared and patch_select_slots without a GPU, against plain PyTorch in float64."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import Tensor

from medseg.ops.patch_select_shared import (
    reference_patch_select_shared,
    reference_patch_select_shared_backward,
)
from medseg.ops.patch_select_slots import (
    assign_unique,
    reference_patch_select_slots,
    reference_patch_select_slots_backward,
)
from tests.cuda_emulation._emulation import ORDERS, Emulation, longs, pointer

LIMIT = {torch.float32: 1e-4, torch.float64: 1e-12}
CASES = [((1, 1, 4, 4), 2, 1), ((2, 5, 12, 8), 2, 3), ((1, 17, 4, 4, 8), 2, 5), ((2, 3, 8, 12), 1, 24)]


def inputs(shape: tuple[int, ...], patch: int, rank: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, keys, queries and a gradient."""
    generator = torch.Generator().manual_seed(sum(shape))
    patches = int(torch.tensor([s // patch for s in shape[2:]]).prod())
    slots = patches >> (len(shape) - 2)
    half = (*shape[:2], *(s // 2 for s in shape[2:]))
    sizes = (shape, (shape[0], patches, rank), (slots, rank), half)
    return tuple(torch.randn(s, generator=generator, dtype=dtype) for s in sizes)


class Kernels:
    """The emulated kernels of one case."""

    def __init__(self, emulation: Emulation, shape: tuple[int, ...], patch: int, rank: int, dtype: torch.dtype) -> None:
        flat = len(shape) == 4
        sizes = [*([1] if flat else []), *shape[2:]]
        self.numbers = longs([*shape[:2], *sizes, patch, int(flat), rank])
        self.library, self.suffix = emulation.library, "f64" if dtype == torch.float64 else "f32"

    def run(self, name: str, *arguments: object) -> None:
        """Calls a function of the library; ints are 64 bits wide."""
        plain = [
            ctypes.c_int64(a) if isinstance(a, int) else ctypes.c_double(a) if isinstance(a, float) else a
            for a in arguments
        ]
        getattr(self.library, f"emu_{name}_{self.suffix}")(*(pointer(a) if isinstance(a, Tensor) else a for a in plain))

    def best(self, scores: Tensor, count: int) -> Tensor:
        index = torch.full((scores.shape[0], count), -7, dtype=torch.int32)
        self.run("best_patches", *scores.shape, count, scores, index)
        return index


def error(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected).abs().max() / expected.abs().max().clamp(min=1)).item()


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize(("shape", "patch", "rank"), CASES, ids=str)
def test_the_best_patches_and_their_gradients(emulation: Emulation, shape, patch: int, rank: int, dtype) -> None:
    x, keys, queries, grad = inputs(shape, patch, rank, dtype)
    scores = keys[:, :, 0].contiguous()
    kernels = Kernels(emulation, shape, patch, rank, dtype)
    _, expected = reference_patch_select_shared(x, scores, patch, 1, 0.1, 0.7, True)
    index = kernels.best(scores, queries.shape[0])
    assert torch.equal(index, expected)
    for surrogate, max_grad in ((1, True), (0, True), (0, False)):
        found = torch.empty_like(scores)
        kernels.run(
            "shared_backward", kernels.numbers, surrogate, 0.1, 0.7, int(max_grad), grad, x, scores, index, found
        )
        doubles = (t.double() for t in (grad, x, scores))
        options = (patch, surrogate, 0.1, 0.7, max_grad, False, True)
        assert error(found, reference_patch_select_shared_backward(*doubles, index, *options)[1]) < LIMIT[dtype]


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
def test_ties_nan_and_infinities_are_ordered_as_on_the_cpu(emulation: Emulation, dtype: torch.dtype) -> None:
    kernels = Kernels(emulation, (1, 1, 4, 4), 2, 1, dtype)
    scores = torch.zeros(4, 700, dtype=dtype)
    scores[0, ::3] = -0.0
    scores[1, [699, 300]] = torch.nan
    scores[1, 5] = torch.inf
    scores[2] = -torch.inf
    scores[3] = torch.arange(700) % 7
    expected = scores.add(0.0).sort(dim=1, descending=True, stable=True).indices[:, :175].sort(dim=1).values
    assert torch.equal(kernels.best(scores, 175).long(), expected)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize(("shape", "patch", "rank"), CASES, ids=str)
def test_unique_slots_and_their_softmax_gradient(emulation: Emulation, shape, patch: int, rank: int, dtype) -> None:
    x, keys, queries, grad = inputs(shape, patch, rank, dtype)
    kernels = Kernels(emulation, shape, patch, rank, dtype)
    doubles = [t.double() for t in (x, keys, queries)]
    for raster in (False, True):
        expected = reference_patch_select_slots(*doubles, patch, True, raster, 1, 0.1, 0.7, True)
        index, query = (torch.full_like(expected[1], -7) for _ in range(2))
        kernels.run("assign", kernels.numbers, int(raster), keys, queries, index, query)
        assert torch.equal(index, expected[1]) and torch.equal(query, expected[2])
    patch_of, slot_of = torch.empty_like(index), torch.empty_like(index)
    kernels.library.emu_order_queries(kernels.numbers, *map(pointer, (index, query, patch_of, slot_of)))
    assert torch.equal(patch_of, assign_unique(*doubles[1:]).int())
    assert torch.equal(index.gather(1, slot_of.long()), patch_of)
    dkeys, dqueries = torch.empty_like(keys), torch.empty_like(queries)
    kernels.run("softmax_slots", kernels.numbers, 0.1, 0.7, grad, x, keys, queries, dkeys, dqueries)
    same = torch.arange(queries.shape[0]).expand_as(index).int()
    options = (patch, 1, 0.1, 0.7, True, False, True)
    wanted = reference_patch_select_slots_backward(grad.double(), *doubles, patch_of, same, *options)
    assert max(error(dkeys, wanted[1]), error(dqueries, wanted[2])) < LIMIT[dtype]


def test_queries_that_want_the_same_patches_are_settled_alike_in_every_thread_order(library: Emulation) -> None:
    keys = torch.randn(1, 144, 1, generator=torch.Generator().manual_seed(0)).abs()
    queries = torch.linspace(2, 1, 36)[:, None].contiguous()
    kernels = Kernels(library, (1, 1, 24, 24), 2, 1, torch.float32)
    expected = assign_unique(keys.double(), queries.double()).int()
    for order in ORDERS:
        library.set_order(order)
        index, query = torch.empty(1, 36, dtype=torch.int32), torch.empty(1, 36, dtype=torch.int32)
        kernels.run("assign", kernels.numbers, 0, keys, queries, index, query)
        assert torch.equal(index, expected)
    library.set_order("forward")
