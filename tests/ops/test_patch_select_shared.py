"""patch_select_shared: the best M patches of one score, and both surrogates against autograd of their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medseg.ops import last_backend, patch_select, patch_select_shared
from medseg.ops.patch_select_shared import reference_patch_select_shared, reference_patch_select_shared_backward
from tests.ops._definitions import cut, literal_shared, paste, problem, softmax_shared
from tests.ops.conftest import run_python

SHAPES = [((2, 3, 8, 12), 2), ((1, 5, 12, 6), 3), ((3, 1, 4, 4), 1), ((1, 17, 8, 4, 4), 2), ((2, 24, 2, 4, 2), 1)]


def scored(shape: tuple[int, ...], patch: int, dtype: torch.dtype = torch.float64, seed: int = 0):
    """Random x and scores that fit; both require a gradient."""
    x, keys, _ = problem(shape, patch, 1, dtype, seed)
    return x, keys.detach()[:, :, 0].clone().requires_grad_()


def gradients(x: Tensor, scores: Tensor, patch: int, **options):
    out, _ = patch_select_shared(x, scores, patch, **options)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(out.dtype)
    return grad, torch.autograd.grad(out, (x, scores), grad)


@pytest.mark.parametrize(("shape", "patch"), SHAPES, ids=str)
def test_the_best_patches_are_kept_in_raster_order(compiled: None, shape, patch: int) -> None:
    x, scores = scored(shape, patch)
    out, index = patch_select_shared(x, scores, patch)
    count = scores.shape[1] >> (len(shape) - 2)
    expected = scores.argsort(dim=1, descending=True)[:, :count].sort(dim=1).values
    assert index.dtype == torch.int32
    assert torch.equal(index.long(), expected)
    chosen = torch.stack([cut(x, patch)[b, expected[b]] for b in range(shape[0])])
    assert torch.equal(out, paste(chosen, tuple(s // 2 for s in shape[2:]), patch))
    assert last_backend("patch_select_shared") == "cpu:generic64"


def test_ties_go_to_the_lowest_patches_and_nan_counts_as_the_largest() -> None:
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    scores = torch.zeros(1, 16)
    assert patch_select_shared(x, scores, 2)[1].tolist() == [[0, 1, 2, 3]]
    scores[0, [9, 4]] = 1.0
    assert patch_select_shared(x, scores, 2)[1].tolist() == [[0, 1, 4, 9]]
    scores[0, [15, 7, 8]] = torch.nan
    assert patch_select_shared(x, scores, 2)[1].tolist() == [[4, 7, 8, 15]]
    assert reference_patch_select_shared(x, scores, 2, 1, 0.1, 1.0, True)[1].tolist() == [[4, 7, 8, 15]]
    assert patch_select_shared(x, torch.full((1, 16), -torch.inf), 2)[1].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(("shape", "patch"), SHAPES, ids=str)
def test_softmax_equals_autograd_of_the_straight_through_sum(shape, patch: int) -> None:
    x, scores = scored(shape, patch)
    grad, (dx, dscores) = gradients(x, scores, patch, surrogate="softmax", slope=0.3, tau=0.7)
    expected = torch.autograd.grad(softmax_shared(x.detach(), scores, patch, 0.3, 0.7), scores, grad)[0]
    torch.testing.assert_close(dscores, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dscores.sum(1), torch.zeros(shape[0]).double(), rtol=0, atol=1e-12)
    count = patch_select_shared(x, scores, patch)[1]
    for b, k in enumerate(count.long()):
        assert torch.equal(cut(dx, patch)[b, k], cut(grad, patch)[b])


@pytest.mark.parametrize("max_grad", [True, False])
@pytest.mark.parametrize(("shape", "patch"), SHAPES, ids=str)
def test_paper_equals_autograd_of_the_literal_definition(shape, patch: int, max_grad: bool) -> None:
    x, scores = scored(shape, patch)
    grad, found = gradients(x, scores, patch, surrogate="paper", slope=0.3, max_grad=max_grad)
    expected = torch.autograd.grad(literal_shared(x, scores, patch, 0.3, max_grad), (x, scores), grad)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    if max_grad:
        torch.testing.assert_close(found[1].sum(1), torch.zeros(shape[0]).double(), rtol=0, atol=1e-12)


def test_gradients_of_four_patches_by_hand() -> None:
    """N = 4, M = 1, one voxel a patch: P = (1, 2, 3, 4), pi = (.1, .2, .3, .4), G = 10, b = 10 P, mean of b = 30."""
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]).requires_grad_()
    scores = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().requires_grad_()
    out, index = patch_select_shared(x, scores, 1)
    assert (out.item(), index.item()) == (4.0, 3)
    dx, ds = torch.autograd.grad(out, (x, scores), torch.full_like(out, 10.0))
    assert dx.tolist() == [[[[0.0, 0.0], [0.0, 10.0]]]]
    torch.testing.assert_close(ds, torch.tensor([[-0.2, -0.2, 0.0, 0.4]]))


@pytest.mark.parametrize("surrogate", ["softmax", "paper", "none"])
@pytest.mark.parametrize("channels", [1, 3, 5, 17, 24])
def test_no_channel_is_lost(channels: int, surrogate: str) -> None:
    x, scores = scored((2, channels, 8, 8), 2, seed=channels)
    grad, exact = gradients(x, scores, 2, surrogate=surrogate)
    index = patch_select_shared(x, scores, 2)[1]
    kind = ("paper", "softmax", "none").index(surrogate)
    with torch.no_grad():
        wanted = reference_patch_select_shared_backward(grad, x, scores, index, 2, kind, 0.1, 1.0, True, True, True)
    _, single = gradients(*(t.detach().float().requires_grad_() for t in (x, scores)), 2, surrogate=surrogate)
    for a, b, c in zip(exact, wanted, single, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(c.double(), b, rtol=1e-4, atol=1e-4)
    assert surrogate != "none" or not exact[1].any()


def test_gradcheck_of_the_selected_values() -> None:
    x, scores = scored((2, 3, 4, 4), 1)
    assert torch.autograd.gradcheck(lambda t: patch_select_shared(t, scores.detach(), 1)[0], (x,))


def test_one_query_for_all_slots_is_a_shared_score() -> None:
    x, keys, _ = problem((2, 3, 8, 8), 2, rank=4)
    query = torch.randn(1, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    out, index = patch_select(x, keys, query, 2, assignment="unique", surrogate="softmax", tau=0.5)
    scores = (keys @ query.T)[:, :, 0]
    expected, expected_index = patch_select_shared(x, scores, 2, tau=0.5)
    assert torch.equal(index, expected_index)
    grad = torch.randn_like(out)
    found = torch.autograd.grad(out, (x, keys, query), grad)
    for a, b in zip(found, torch.autograd.grad(expected, (x, keys, query), grad), strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match='one query for all slots with assignment "argmax" and order "None"; expected'):
        patch_select(x, keys, query, 2)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 4, 4, 8)], ids=str)
def test_memory_layout_does_not_matter(shape: tuple[int, ...]) -> None:
    x, scores = scored(shape, 2)
    grad, expected = gradients(x, scores, 2)
    index = patch_select_shared(x, scores, 2)[1]
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    for other in (x.detach().contiguous(memory_format=layout), x.detach()[..., None].expand(*shape, 2)[..., 0]):
        arguments = (grad.contiguous(memory_format=layout), other, scores.detach(), index)
        found = torch.ops.medseg.patch_select_shared_backward(*arguments, 2, 1, 0.1, 1.0, True, True, True)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype: torch.dtype) -> None:
    x, scores = scored((1, 3, 16, 16), 2)
    x, scores = x.detach().to(dtype).requires_grad_(), scores.detach().float().requires_grad_()
    _, found = gradients(x, scores, 2)
    _, wide = gradients(x.detach().float().requires_grad_(), scores, 2)
    assert [g.dtype for g in found] == [dtype, torch.float32]
    assert torch.equal(found[0] != 0, wide[0] != 0)
    torch.testing.assert_close(found[1], wide[1], rtol=2e-2, atol=2e-2)


def test_an_empty_batch_gives_an_empty_batch() -> None:
    x, scores = scored((0, 3, 8, 8), 2)
    out, index = patch_select_shared(x, scores, 2)
    assert (out.shape, index.shape) == ((0, 3, 4, 4), (0, 4))
    assert [g.shape for g in torch.autograd.grad(out.sum(), (x, scores))] == [x.shape, scores.shape]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("surrogate", ["softmax", "paper"])
def test_the_thread_count_does_not_change_a_bit(compiled: None, surrogate: str, dtype: torch.dtype) -> None:
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            x, scores = scored((3, 24, 64, 64), 2, dtype)
            results.append(gradients(x, scores, 2, surrogate=surrogate)[1])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


ISA_CODE = """
import torch
from medseg.ops import last_backend
from medseg.ops.patch_select_shared import reference_patch_select_shared_backward
g = torch.Generator().manual_seed(3)
for channels, sizes, patch in ((1, (8, 8), 2), (5, (24, 40), 2), (24, (16, 8, 16), 4), (3, (12, 36), 3)):
    n = 1
    for s in sizes: n *= s // patch
    x, scores = torch.randn(2, channels, *sizes, generator=g), torch.randn(2, n, generator=g)
    out, index = torch.ops.medseg.patch_select_shared(x, scores, patch, 1, 0.1, 1.0, True)
    assert last_backend("patch_select_shared") == "cpu:{isa}"
    grad = torch.randn(out.shape, generator=g)
    for surrogate in (0, 1):
        options = (index, patch, surrogate, 0.1, 1.0, True, True, True)
        f = torch.ops.medseg.patch_select_shared_backward(grad, x, scores, *options)
        assert last_backend("patch_select_shared_backward") == "cpu:{isa}"
        d = reference_patch_select_shared_backward(grad.double(), x.double(), scores.double(), *options)
        for u, v in zip(f, d):
            assert (u - v).abs().max() < 1e-5 * v.abs().max().clamp(min=1)
print("done")
"""


@pytest.mark.parametrize("isa", ["avx512", "avx2", "generic"])
def test_every_instruction_set_agrees_with_float64(compiled: None, isa: str) -> None:
    done = run_python(ISA_CODE.format(isa=isa), MEDSEG_ISA=isa)
    if "does not support it" in done.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert done.stdout == "done\n", done.stderr[-2000:]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 2, 4, 4, 8), (0, 3, 4, 4)], ids=str)
def test_opcheck(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, scores = scored(shape, 1, dtype)
    torch.library.opcheck(torch.ops.medseg.patch_select_shared.default, (x, scores, 1, 1, 0.1, 1.0, True))
    out, index = patch_select_shared(x.detach(), scores.detach(), 1)
    options = (index, 1, 1, 0.1, 1.0, True, True, True)
    backward = torch.ops.medseg.patch_select_shared_backward.default
    torch.library.opcheck(backward, (out, x.detach(), scores.detach(), *options))


REFUSED = [
    ((1, 3, 8, 6), (1, 12), {}, "spatial size [8, 6] with patch 2; expected multiples of 4, pad or crop x"),
    ((1, 3, 8, 8), (1, 9), {}, "scores have shape [1, 9]; expected [1, 16]"),
    ((1, 3, 8, 8), (1, 16), {"tau": -1.0}, "tau is -1.0; expected more than 0"),
    ((1, 3, 8, 8), (1, 16), {"slope": -0.1}, "slope is -0.1; expected at least 0"),
    ((1, 3, 8, 8), (1, 16), {"surrogate": "x"}, "surrogate is 'x'; expected one of 'paper', 'softmax', 'none'"),
]


@pytest.mark.parametrize(("x", "scores", "options", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_what_does_not_fit_is_named(x, scores, options: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        patch_select_shared(torch.ones(x), torch.ones(scores), 2, **options)
    assert str(caught.value) == f"patch_select_shared: {message}"
