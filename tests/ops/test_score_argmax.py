"""score_argmax: the best key for every query."""

from __future__ import annotations

import pytest
import torch

from medseg.ops import last_backend, score_argmax
from medseg.ops.score_argmax import reference_score_argmax, reference_score_argmax_backward
from tests.ops._definitions import literal_score_argmax
from tests.ops.conftest import run_python

RANKS = [1, 3, 5, 17, 24]


def draw(
    batch: int, n: int, m: int, rank: int, shared: bool = True, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n + m + rank)
    keys = torch.randn(batch, n, rank, generator=generator, dtype=dtype)
    return keys, torch.randn(*(() if shared else (batch,)), m, rank, generator=generator, dtype=dtype)


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 5), (64, 33), (131, 70)])
def test_equals_the_matrix_of_scores(n: int, m: int, rank: int, shared: bool) -> None:
    keys, queries = draw(2, n, m, rank, shared)
    index, score = score_argmax(keys, queries)
    expected_index, expected = literal_score_argmax(keys, queries)
    assert index.dtype == torch.int32
    assert torch.equal(index, expected_index)
    torch.testing.assert_close(score, expected, rtol=1e-12, atol=1e-12)


def test_float64_runs_the_compiled_float64_kernel(compiled: None) -> None:
    score_argmax(*draw(1, 9, 3, 5))
    assert last_backend("score_argmax") == "cpu:generic64"


@pytest.mark.parametrize("rank", RANKS)
def test_float32_agrees_with_the_float64_kernel(rank: int) -> None:
    keys, queries = draw(2, 257, 129, rank, dtype=torch.float32)
    index, score = score_argmax(keys, queries)
    _, exact = score_argmax(keys.double(), queries.double())
    torch.testing.assert_close(score.double(), exact, rtol=1e-5, atol=1e-5)
    reached = (keys.double().gather(1, index.long()[..., None].expand(-1, -1, rank)) * queries.double()).sum(-1)
    torch.testing.assert_close(reached, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", [score_argmax, reference_score_argmax])
class TestRules:
    def test_a_tie_goes_to_the_lowest_index(self, function) -> None:
        keys = torch.zeros(1, 2100, 2)
        keys[0, [2099, 40, 1500]] = 1.0
        index, score = function(keys, torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
        assert index.tolist() == [[40, 0]]
        assert score.tolist() == [[3.0, 0.0]]

    def test_the_first_nan_wins(self, function) -> None:
        keys = torch.arange(1500.0).reshape(1, 1500, 1)
        keys[0, [1400, 1100, 37]] = torch.nan
        index, score = function(keys, torch.ones(2, 1))
        assert index.tolist() == [[37, 37]]
        assert score.isnan().all()

    def test_nan_in_one_query_leaves_the_others_alone(self, function) -> None:
        keys = torch.tensor([[[1.0], [3.0], [2.0]]])
        index, score = function(keys, torch.tensor([[1.0], [torch.nan], [-1.0]]))
        assert index.tolist() == [[1, 0, 0]]
        assert score[0, [0, 2]].tolist() == [3.0, -1.0]
        assert score[0, 1].isnan()

    def test_all_scores_minus_infinity_choose_the_first_key(self, function) -> None:
        index, score = function(torch.full((1, 70, 1), -torch.inf), torch.ones(1, 1))
        assert index.item() == 0
        assert score.item() == -torch.inf

    def test_no_query_and_no_batch_give_empty_results(self, function) -> None:
        index, score = function(torch.ones(2, 5, 3), torch.ones(0, 3))
        assert index.shape == score.shape == (2, 0)
        index, score = function(torch.ones(0, 5, 3), torch.ones(4, 3))
        assert index.shape == score.shape == (0, 4)


def test_strides_do_not_matter() -> None:
    keys, queries = draw(2, 40, 20, 6)
    expected_index, expected = score_argmax(keys, queries)
    spread = torch.stack([queries, queries], dim=-1)[..., 0]
    assert not spread.is_contiguous()
    index, score = score_argmax(keys.transpose(1, 2).contiguous().transpose(1, 2), spread)
    assert torch.equal(index, expected_index)
    torch.testing.assert_close(score, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shared", [True, False])
def test_gradient_is_that_of_the_winning_scores(shared: bool) -> None:
    keys, queries = (t.requires_grad_() for t in draw(3, 30, 8, 5, shared))
    _, score = score_argmax(keys, queries)
    grad = torch.randn(score.shape, dtype=score.dtype, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(score, (keys, queries), grad)
    expected = torch.autograd.grad(literal_score_argmax(keys, queries)[1], (keys, queries), grad)
    reference = reference_score_argmax_backward(grad, keys, queries, score_argmax(keys, queries)[0])
    for a, b, c in zip(found, expected, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(c, b, rtol=1e-12, atol=1e-12)


def test_gradcheck() -> None:
    keys, queries = (t.requires_grad_() for t in draw(2, 6, 3, 2))
    assert torch.autograd.gradcheck(lambda k, q: score_argmax(k, q)[1], (keys, queries))


def test_index_carries_no_gradient() -> None:
    keys, queries = (t.requires_grad_() for t in draw(1, 6, 3, 2))
    assert not score_argmax(keys, queries)[0].requires_grad


def test_second_derivatives_are_refused_in_one_line() -> None:
    keys, queries = (t.requires_grad_() for t in draw(1, 6, 3, 2))
    (dkeys,) = torch.autograd.grad(score_argmax(keys, queries)[1].sum(), keys, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^score_argmax: second derivatives are not implemented"):
        dkeys.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_scored_in_float32(dtype: torch.dtype) -> None:
    keys, queries = (t.to(dtype) for t in draw(1, 50, 12, 7, dtype=torch.float32))
    index, score = score_argmax(keys, queries)
    expected = score_argmax(keys.float(), queries.float())
    assert score.dtype == torch.float32
    assert torch.equal(index, expected[0])
    assert torch.equal(score, expected[1])


@pytest.mark.parametrize("function", [score_argmax, reference_score_argmax])
def test_autocast_does_not_lower_the_precision_of_the_scores(function) -> None:
    keys, queries = draw(1, 300, 40, 9, dtype=torch.float32)
    expected = function(keys, queries)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = function(keys, queries)
    assert found[1].dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("keys", "queries", "kind", "message"),
    [
        ((3, 4), (5, 4), ValueError, "score_argmax: keys have shape [3, 4]; expected [B, N, r]"),
        ((1, 3, 4), (4,), ValueError, "score_argmax: queries have shape [4]; expected [M, r] or [B, M, r]"),
        ((1, 3, 4), (5, 3), ValueError, "score_argmax: rank is 4 in keys and 3 in queries; expected one rank r >= 1"),
        ((2, 3, 4), (3, 5, 4), ValueError, "score_argmax: batch is 2 in keys and 3 in queries; expected the same"),
        ((1, 0, 4), (5, 4), ValueError, "score_argmax: keys have shape [1, 0, 4]; expected at least one key"),
    ],
)
def test_shapes_that_do_not_fit_are_named(keys, queries, kind, message: str) -> None:
    with pytest.raises(kind) as caught:
        score_argmax(torch.ones(keys), torch.ones(queries))
    assert str(caught.value) == message


def test_dtypes_that_do_not_fit_are_named() -> None:
    with pytest.raises(TypeError) as caught:
        score_argmax(torch.ones(1, 3, 4, dtype=torch.int64), torch.ones(5, 4))
    assert str(caught.value) == ("score_argmax: keys is torch.int64; expected float16, bfloat16, float32 or float64")
    with pytest.raises(TypeError) as caught:
        score_argmax(torch.ones(1, 3, 4).double(), torch.ones(5, 4))
    assert str(caught.value) == (
        "score_argmax: keys are torch.float64 and queries torch.float32; expected float64 for both or for neither"
    )


ISA_CODE = """
import torch
from medseg.ops import score_argmax, last_backend
g = torch.Generator().manual_seed(3)
for r in (1, 3, 5, 17, 24):
    for n, m in ((1, 1), (61, 7), (300, 97)):
        k, q = torch.randn(2, n, r, generator=g), torch.randn(m, r, generator=g)
        i, s = score_argmax(k, q)
        assert last_backend("score_argmax") == "cpu:{isa}", last_backend("score_argmax")
        i64, s64 = score_argmax(k.double(), q.double())
        assert last_backend("score_argmax") == "cpu:generic64"
        assert (s - s64).abs().max() < 1e-5 * r
        assert (i == i64).float().mean() > 0.99
k = torch.zeros(1, 200, 3); k[0, [150, 33]] = torch.nan
assert (score_argmax(k, torch.ones(40, 3))[0] == 33).all()
assert (score_argmax(torch.ones(1, 200, 3), torch.ones(40, 3))[0] == 0).all()
print("done")
"""


@pytest.mark.parametrize("isa", ["avx512", "avx2", "generic"])
def test_every_instruction_set_agrees_with_the_float64_kernel(compiled: None, isa: str) -> None:
    done = run_python(ISA_CODE.format(isa=isa), MEDSEG_ISA=isa)
    if "does not support it" in done.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert done.stdout == "done\n", done.stderr[-2000:]
