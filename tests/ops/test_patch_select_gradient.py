"""patch_select backward: exact against autograd of the literal definition, and its invariants."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medseg.ops import last_backend, patch_select
from medseg.ops.patch_select import reference_patch_select, reference_patch_select_backward
from tests.ops._definitions import cut, literal_patch_select, problem
from tests.ops.conftest import run_python

SHAPES = [((2, 3, 8, 12), 2), ((1, 5, 12, 6), 3), ((3, 1, 4, 4), 1), ((1, 17, 8, 4, 4), 2), ((2, 24, 2, 4, 2), 1)]


def gradients(x: Tensor, keys: Tensor, queries: Tensor, patch: int, max_grad: bool = True, slope: float = 0.1):
    out, _ = patch_select(x, keys, queries, patch, slope, max_grad)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(out.dtype)
    return grad, torch.autograd.grad(out, (x, keys, queries), grad)


@pytest.mark.parametrize("max_grad", [True, False])
@pytest.mark.parametrize(("shape", "patch"), SHAPES, ids=str)
def test_equals_autograd_of_the_literal_definition(compiled: None, shape, patch: int, max_grad: bool) -> None:
    x, keys, queries = problem(shape, patch, rank=5)
    grad, found = gradients(x, keys, queries, patch, max_grad, slope=0.3)
    assert last_backend("patch_select_backward") == "cpu:generic64"
    literal = literal_patch_select(x, keys, queries, patch, 0.3, max_grad)
    expected = torch.autograd.grad(literal, (x, keys, queries), grad)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("max_grad", [True, False])
@pytest.mark.parametrize("rank", [1, 3, 5, 17, 24])
@pytest.mark.parametrize("channels", [1, 3, 5, 17, 24])
def test_no_channel_and_no_rank_is_lost(channels: int, rank: int, max_grad: bool) -> None:
    x, keys, queries = problem((2, channels, 8, 8), 2, rank, seed=rank)
    grad, exact = gradients(x, keys, queries, 2, max_grad)
    literal = torch.autograd.grad(literal_patch_select(x, keys, queries, 2, 0.1, max_grad), (x, keys, queries), grad)
    singles = [t.detach().float().requires_grad_() for t in (x, keys, queries)]
    _, single = gradients(*singles, 2, max_grad)
    for a, b, c in zip(exact, literal, single, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(c.double(), b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("max_grad", [True, False])
def test_the_reference_is_exact_too(max_grad: bool) -> None:
    x, keys, queries = problem((2, 3, 8, 12), 2, rank=5)
    grad, found = gradients(x, keys, queries, 2, max_grad)
    index = reference_patch_select(x, keys, queries, 2)[1]
    with torch.no_grad():
        reference = reference_patch_select_backward(grad, x, keys, queries, index, 2, 0.1, max_grad, True, True)
    for a, b in zip(found, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def score_gradient(max_grad: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """dS [M, N] of one item, read off dqueries by making the keys the identity; index, patches, gradient patches."""
    x, _, _ = problem((1, 3, 8, 8), 2, rank=1)
    keys = torch.eye(16, dtype=torch.float64)[None].requires_grad_()
    generator = torch.Generator().manual_seed(4)
    queries = torch.randn(4, 16, generator=generator, dtype=torch.float64).requires_grad_()
    out, index = patch_select(x, keys, queries, 2, max_grad=max_grad)
    grad = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    (ds,) = torch.autograd.grad(out, queries, grad)
    return ds, index[0].long(), cut(x.detach(), 2)[0].flatten(1), cut(grad, 2)[0].flatten(1)


def test_the_score_gradients_of_a_slot_sum_to_zero() -> None:
    ds, _, _, _ = score_gradient(max_grad=True)
    assert ds.abs().sum(1).min() > 0.1
    torch.testing.assert_close(ds.sum(1), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("max_grad", [True, False])
def test_the_score_gradient_follows_the_formula_entry_by_entry(max_grad: bool) -> None:
    ds, index, patches, grads = score_gradient(max_grad)
    expected = 0.1 * grads @ patches.T
    rows = torch.arange(4)
    expected[rows, index] = 0.0
    if max_grad:
        expected[rows, index] = -expected.sum(1)
    torch.testing.assert_close(ds, expected, rtol=1e-12, atol=1e-12)


def test_gradients_of_four_patches_by_hand() -> None:
    """N = 4, M = 1, one voxel a patch: P = (1, 2, 3, 4), the winner is patch 1, G = 10."""
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]).requires_grad_()
    keys = torch.tensor([[[0.0], [5.0], [1.0], [2.0]]]).requires_grad_()
    queries = torch.tensor([[2.0]]).requires_grad_()
    out, index = patch_select(x, keys, queries, patch=1)
    assert (out.item(), index.item()) == (2.0, 1)
    dx, dkeys, dqueries = torch.autograd.grad(out, (x, keys, queries), torch.full_like(out, 10.0))
    assert dx.tolist() == [[[[0.0, 10.0], [0.0, 0.0]]]]
    # dS = 0.1 * 10 * (1, ., 3, 4) = (1, -8, 3, 4); dkeys = 2 dS; dqueries = <dS, keys> = -40 + 3 + 8
    torch.testing.assert_close(dkeys.flatten(), torch.tensor([2.0, -16.0, 6.0, 8.0]))
    torch.testing.assert_close(dqueries.flatten(), torch.tensor([-29.0]))


def test_a_patch_chosen_by_all_slots_receives_the_sum() -> None:
    x, keys, queries = problem((1, 2, 8, 8), 2, rank=3)
    keys = torch.zeros_like(keys)
    grad, (dx, _, _) = gradients(x, keys.requires_grad_(), queries, 2)
    patches = cut(dx, 2)[0]
    torch.testing.assert_close(patches[0], cut(grad, 2)[0].sum(0))
    assert not patches[1:].any()


def test_gradcheck_of_the_selected_values() -> None:
    x, keys, queries = problem((2, 3, 4, 4), 1, rank=3)
    keys, queries = keys.detach(), queries.detach()
    assert torch.autograd.gradcheck(lambda t: patch_select(t, keys, queries, 1)[0], (x,))


def test_slope_zero_gives_no_gradient_to_the_scores() -> None:
    x, keys, queries = problem((1, 3, 8, 8), 2, rank=4)
    _, (dx, dkeys, dqueries) = gradients(x, keys, queries, 2, slope=0.0)
    assert dx.any()
    assert not dkeys.any()
    assert not dqueries.any()


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_only_what_is_asked_for_is_differentiated(wanted: tuple[int, ...]) -> None:
    _, full = gradients(*problem((1, 3, 8, 8), 2, rank=4), 2)
    tensors = [t.detach().requires_grad_(i in wanted) for i, t in enumerate(problem((1, 3, 8, 8), 2, rank=4))]
    out, _ = patch_select(*tensors, 2)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    out.backward(grad)
    for i, (t, g) in enumerate(zip(tensors, full, strict=True)):
        assert (t.grad is None) == (i not in wanted)
        assert t.grad is None or torch.equal(t.grad, g)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 4, 4, 8)], ids=str)
def test_memory_layout_does_not_matter(shape: tuple[int, ...]) -> None:
    x, keys, queries = problem(shape, 2, rank=5)
    out, index = patch_select(x, keys, queries, 2)
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    expected = torch.autograd.grad(out, (x, keys, queries), grad)
    for other_grad in (grad.contiguous(memory_format=layout), grad[..., None].expand(*grad.shape, 3)[..., 1]):
        other = x.detach().contiguous(memory_format=layout)
        arguments = (other_grad, other, keys.detach(), queries.detach(), index)
        found = torch.ops.medseg.patch_select_backward(*arguments, 2, 0.1, True, True, True)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype: torch.dtype) -> None:
    x, keys, queries = (t.detach().float() for t in problem((1, 3, 16, 16), 2, rank=5))
    halves = (x.to(dtype).requires_grad_(), keys.requires_grad_(), queries.requires_grad_())
    grad, found = gradients(*halves, 2)
    index = patch_select(*halves, 2)[1]
    wide = (grad.float(), halves[0].detach().float(), keys.detach(), queries.detach(), index)
    expected = torch.ops.medseg.patch_select_backward(*wide, 2, 0.1, True, True, True)
    assert [g.dtype for g in found] == [dtype, torch.float32, torch.float32]
    assert torch.equal(found[0], expected[0].to(dtype))
    for a, b in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(a, b)


def test_second_derivatives_are_refused_in_one_line() -> None:
    x, keys, queries = problem((1, 3, 8, 8), 2, rank=4)
    (dx,) = torch.autograd.grad(patch_select(x, keys, queries, 2)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^patch_select: second derivatives are not implemented"):
        dx.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_thread_count_does_not_change_a_bit(compiled: None, dtype: torch.dtype) -> None:
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            x, keys, queries = problem((2, 7, 32, 48), 2, rank=9, dtype=dtype)
            out, index = patch_select(x, keys, queries, 2)
            _, found = gradients(x, keys, queries, 2)
            results.append((out.detach(), index, *found))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


ISA_CODE = """
import torch
from medseg.ops import patch_select, last_backend
g = torch.Generator().manual_seed(3)
cases = ((1, 1, (8, 8), 2), (5, 17, (24, 40), 2), (24, 5, (16, 8, 16), 4), (3, 24, (12, 36), 3))
for channels, rank, sizes, patch in cases:
    n = 1
    for s in sizes: n *= s // patch
    x, k = torch.randn(2, channels, *sizes, generator=g), torch.randn(2, n, rank, generator=g)
    q = torch.randn(n >> len(sizes), rank, generator=g)
    index = patch_select(x.double(), k.double(), q.double(), patch)[1]
    out = patch_select(x, k, q, patch)[0]
    assert last_backend("patch_select") == "cpu:{isa}"
    grad = torch.randn(out.shape, generator=g)
    for layout in (torch.contiguous_format, torch.channels_last if x.ndim == 4 else torch.channels_last_3d):
        for max_grad in (True, False):
            a = (grad, x.contiguous(memory_format=layout), k, q)
            run = torch.ops.medseg.patch_select_backward
            f = run(*a, index, patch, 0.1, max_grad, True, True)
            assert last_backend("patch_select_backward") == "cpu:{isa}"
            d = run(*(t.double() for t in a), index, patch, 0.1, max_grad, True, True)
            assert last_backend("patch_select_backward") == "cpu:generic64"
            for u, v in zip(f, d):
                assert (u - v).abs().max() < 1e-5 * v.abs().max().clamp(min=1), (channels, rank, (u - v).abs().max())
print("done")
"""


@pytest.mark.parametrize("isa", ["avx512", "avx2", "generic"])
def test_every_instruction_set_agrees_with_the_float64_kernel(compiled: None, isa: str) -> None:
    done = run_python(ISA_CODE.format(isa=isa), MEDSEG_ISA=isa)
    if "does not support it" in done.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert done.stdout == "done\n", done.stderr[-2000:]
