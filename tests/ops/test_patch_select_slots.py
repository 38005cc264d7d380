"""patch_select with unique patches, raster order and the softmax surrogate, against literal definitions in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from medseg.ops import last_backend, patch_select
from medseg.ops.patch_select_slots import (
    reference_patch_select_slots,
    reference_patch_select_slots_backward,
)
from tests.ops._definitions import cut, literal_slots, problem
from tests.ops.conftest import run_python

SHAPES = [((2, 3, 8, 12), 2), ((1, 5, 12, 6), 3), ((3, 1, 4, 4), 1), ((1, 17, 8, 4, 4), 2), ((2, 24, 2, 4, 2), 1)]
FORMS = [
    (a, o, s) for a, o, s in itertools.product(("argmax", "unique"), ("slots", "raster"), ("paper", "softmax", "none"))
]


def greedy(scores: Tensor) -> list[int]:
    """Column of every row of scores [M, N], none twice: the largest entry of what is left, again and again."""
    left = scores.clone()
    found = [-1] * len(scores)
    for _ in range(len(scores)):
        m, k = divmod(int(left.argmax()), scores.shape[1])
        found[m] = k
        left[m], left[:, k] = -torch.inf, -torch.inf
    return found


@pytest.mark.parametrize(("shape", "patch"), SHAPES, ids=str)
def test_unique_assigns_greedily_by_score(shape: tuple[int, ...], patch: int) -> None:
    x, keys, queries = problem(shape, patch, rank=5)
    _, index = patch_select(x, keys, queries, patch, assignment="unique", order="slots")
    assert index.tolist() == [greedy(s) for s in (queries @ keys.transpose(1, 2)).detach()]


def test_slots_without_a_candidate_take_the_patches_that_are_left_in_raster_order() -> None:
    """All 36 slots want the same 32 patches: 4 of them get the first free ones."""
    x, keys, _ = (t.detach() for t in problem((1, 1, 24, 24), 2, rank=1))
    queries = torch.linspace(2, 1, 36, dtype=torch.float64)[:, None]
    _, index = patch_select(x, keys, queries, 2, assignment="unique", order="slots")
    best = keys[0, :, 0].argsort(descending=True)[:32].tolist()
    assert index[0, :32].tolist() == best
    assert index[0, 32:].tolist() == [k for k in range(144) if k not in best][:4]


def test_ties_go_to_the_lower_slot_and_patch() -> None:
    x = torch.zeros(1, 1, 8, 8)
    _, index = patch_select(x, torch.ones(1, 16, 1), torch.ones(4, 1), 2, assignment="unique", order="slots")
    assert index.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("assignment", ["argmax", "unique"])
def test_raster_order_sorts_the_chosen_patches(assignment: str) -> None:
    x, keys, queries = problem((2, 3, 16, 16), 2, rank=4)
    _, by_slot = patch_select(x, keys, queries, 2, assignment=assignment, order="slots")
    out, index = patch_select(x, keys, queries, 2, assignment=assignment, order="raster")
    assert torch.equal(index, by_slot.sort(dim=1).values)
    for b in range(2):
        assert torch.equal(cut(out, 2)[b], cut(x, 2)[b, index[b].long()])


@pytest.mark.parametrize("max_grad", [True, False])
@pytest.mark.parametrize(("assignment", "order", "surrogate"), FORMS)
@pytest.mark.parametrize(("shape", "patch"), SHAPES[:4], ids=str)
def test_gradients_equal_autograd_of_the_definition(
    compiled: None, shape, patch: int, assignment: str, order: str, surrogate: str, max_grad: bool
) -> None:
    x, keys, queries = problem(shape, patch, rank=5)
    options = {"assignment": assignment, "order": order, "surrogate": surrogate, "tau": 0.7}
    out, _ = patch_select(x, keys, queries, patch, 0.3, max_grad, **options)
    _, given = patch_select(x, keys, queries, patch, assignment=assignment, order="slots")
    expected = literal_slots(x, keys, queries, given.long(), order == "raster", patch, surrogate, 0.3, 0.7, max_grad)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    found = torch.autograd.grad(out, (x, keys, queries), grad)
    wanted = torch.autograd.grad(expected, (x, keys, queries), grad, materialize_grads=True)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("surrogate", ["paper", "softmax"])
def test_the_score_gradients_of_a_slot_sum_to_zero(surrogate: str) -> None:
    """Keys that are the identity make dqueries the gradient of the scores."""
    x, _, _ = problem((1, 3, 8, 8), 2, rank=1)
    keys = torch.eye(16, dtype=torch.float64)[None]
    queries = torch.randn(4, 16, generator=torch.Generator().manual_seed(4), dtype=torch.float64).requires_grad_()
    out, _ = patch_select(x, keys, queries, 2, assignment="unique", order="raster", surrogate=surrogate)
    (ds,) = torch.autograd.grad(out.square().sum(), queries)
    assert ds.abs().sum(1).min() > 1e-3
    torch.testing.assert_close(ds.sum(1), torch.zeros(4).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 17])
@pytest.mark.parametrize("channels", [1, 3, 5, 17, 24])
def test_streaming_over_slots_equals_the_whole_matrix(channels: int, rank: int) -> None:
    """100 slots: more than one block."""
    x, keys, queries = (t.detach() for t in problem((2, channels, 40, 40), 2, rank, seed=rank))
    forward = reference_patch_select_slots(x, keys, queries, 2, True, True, 1, 0.1, 0.5, True)
    compiled = torch.ops.medseg.patch_select_slots(x, keys, queries, 2, True, True, 1, 0.1, 0.5, True)
    assert all(torch.equal(a, b) for a, b in zip(forward, compiled, strict=True))
    grad = torch.randn(forward[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    arguments = (grad, x, keys, queries, *forward[1:])
    wanted = reference_patch_select_slots_backward(*arguments, 2, 1, 0.1, 0.5, True, True, True)
    found = torch.ops.medseg.patch_select_slots_backward(*arguments, 2, 1, 0.1, 0.5, True, True, True)
    singles = (t.float() if t.is_floating_point() else t for t in arguments)
    single = torch.ops.medseg.patch_select_slots_backward(*singles, 2, 1, 0.1, 0.5, True, True, True)
    for a, b, c in zip(found, wanted, single, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(c.double(), b, rtol=1e-3, atol=1e-4)


def test_the_thread_count_does_not_change_a_bit(compiled: None) -> None:
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            for batch in (1, 3):
                x, keys, queries = problem((batch, 7, 32, 48), 2, rank=9, dtype=torch.float32)
                out, index = patch_select(x, keys, queries, 2, assignment="unique", order="raster", surrogate="softmax")
                results.append((out.detach(), index, *torch.autograd.grad(out.square().sum(), (x, keys, queries))))
    finally:
        torch.set_num_threads(threads)
    for i, other in enumerate(results[2:]):
        assert all(torch.equal(a, b) for a, b in zip(results[i % 2], other, strict=True))


ISA_CODE = """
import torch
from medseg.ops import last_backend
g = torch.Generator().manual_seed(3)
for channels, rank, sizes, patch in ((1, 1, (8, 8), 2), (5, 17, (24, 40), 2), (24, 5, (16, 8, 16), 4)):
    n = 1
    for s in sizes: n *= s // patch
    x, k = torch.randn(2, channels, *sizes, generator=g), torch.randn(2, n, rank, generator=g)
    q = torch.randn(n >> len(sizes), rank, generator=g)
    run = torch.ops.medseg.patch_select_slots
    wide = run(x.double(), k.double(), q.double(), patch, True, True, 1, 0.1, 1.0, True)
    out, index, query = run(x, k, q, patch, True, True, 1, 0.1, 1.0, True)
    assert torch.equal(index, wide[1]) and torch.equal(query, wide[2])
    assert last_backend("patch_select_slots") == "cpu:{isa}"
    grad = torch.randn(out.shape, generator=g)
    a = (grad, x, k, q)
    run = torch.ops.medseg.patch_select_slots_backward
    f = run(*a, index, query, patch, 1, 0.1, 1.0, True, True, True)
    assert last_backend("patch_select_slots_backward") == "cpu:{isa}"
    d = run(*(t.double() for t in a), index, query, patch, 1, 0.1, 1.0, True, True, True)
    for u, v in zip(f, d):
        assert (u - v).abs().max() < 1e-4 * v.abs().max().clamp(min=1)
print("done")
"""


@pytest.mark.parametrize("isa", ["avx512", "avx2", "generic"])
def test_every_instruction_set_agrees_with_float64(compiled: None, isa: str) -> None:
    done = run_python(ISA_CODE.format(isa=isa), MEDSEG_ISA=isa)
    if "does not support it" in done.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert done.stdout == "done\n", done.stderr[-2000:]


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 2, 4, 4, 8), (0, 3, 4, 4)], ids=str)
def test_opcheck(shape: tuple[int, ...]) -> None:
    x, keys, queries = problem(shape, 1, rank=4, dtype=torch.float32)
    options = (1, True, True, 1, 0.1, 1.0, True)
    torch.library.opcheck(torch.ops.medseg.patch_select_slots.default, (x, keys, queries, *options))
    plain = tuple(t.detach() for t in (x, keys, queries))
    out, index, query = torch.ops.medseg.patch_select_slots(*plain, *options)
    arguments = (out, *plain, index, query, 1, 1, 0.1, 1.0, True, True, True)
    torch.library.opcheck(torch.ops.medseg.patch_select_slots_backward.default, arguments)


def test_the_original_form_still_runs_its_own_op(compiled: None) -> None:
    x, keys, queries = problem((1, 3, 8, 8), 2, rank=4)
    patch_select(x, keys, queries, 2)
    assert last_backend("patch_select") == "cpu:generic64"
    patch_select(x, keys, queries, 2, surrogate="softmax")
    assert last_backend("patch_select_slots") == "cpu:generic64"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"assignment": "best"}, "assignment is 'best'; expected one of 'argmax', 'unique'"),
        ({"order": "random"}, "order is 'random'; expected one of 'slots', 'raster'"),
    ],
)
def test_options_that_do_not_exist_are_named(options: dict, message: str) -> None:
    x, keys, queries = problem((1, 3, 8, 8), 2, rank=4)
    with pytest.raises(ValueError) as caught:
        patch_select(x, keys, queries, 2, **options)
    assert str(caught.value) == f"patch_select: {message}"
