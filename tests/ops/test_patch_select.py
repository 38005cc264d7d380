"""patch_select forward: which patch goes where, and what is refused."""

from __future__ import annotations

import itertools

import pytest
import torch

from medseg.ops import last_backend, patch_select
from medseg.ops.patch_select import reference_patch_select, reference_patch_select_backward
from tests.ops._definitions import cut, literal_patch_select, paste, problem

SHAPES = [((2, 3, 8, 12), 2), ((1, 5, 6, 6), 3), ((3, 1, 4, 4), 1), ((1, 17, 8, 4, 12), 2), ((2, 24, 2, 4, 2), 1)]


@pytest.mark.parametrize(("shape", "patch"), SHAPES, ids=str)
def test_equals_the_literal_definition(shape: tuple[int, ...], patch: int) -> None:
    x, keys, queries = problem(shape, patch, rank=5)
    out, _ = patch_select(x, keys, queries, patch)
    torch.testing.assert_close(out, literal_patch_select(x, keys, queries, patch), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("shape", "patch"), SHAPES, ids=str)
def test_every_slot_holds_the_patch_its_index_names(shape: tuple[int, ...], patch: int, dtype: torch.dtype) -> None:
    x, keys, queries = problem(shape, patch, rank=3)
    lifted = torch.float64 if dtype == torch.float64 else torch.float32
    x, keys, queries = x.detach().to(dtype), keys.to(lifted), queries.to(lifted)
    out, index = patch_select(x, keys, queries, patch)
    patches = cut(x, patch)
    chosen = torch.stack([patches[b, index[b].long()] for b in range(shape[0])])
    assert out.dtype == dtype
    assert out.is_contiguous()
    assert index.dtype == torch.int32
    assert torch.equal(out, paste(chosen, tuple(s // 2 for s in shape[2:]), patch))
    reference = reference_patch_select(x, keys, queries, patch)
    assert torch.equal(out, reference[0])
    assert torch.equal(index, reference[1])


def test_four_patches_by_hand() -> None:
    x = torch.tensor(
        [[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0], [13.0, 14.0, 15.0, 16.0]]]]
    )
    keys = torch.tensor([[[0.1], [0.4], [0.9], [0.3]]])
    out, index = patch_select(x, keys, torch.tensor([[1.0]]), patch=2)
    assert index.tolist() == [[2]]
    assert out.tolist() == [[[[9.0, 10.0], [13.0, 14.0]]]]
    out, index = patch_select(x, keys, torch.tensor([[-1.0]]), patch=2)
    assert index.tolist() == [[0]]
    assert out.tolist() == [[[[1.0, 2.0], [5.0, 6.0]]]]


@pytest.mark.parametrize("sizes", [(8, 12), (16, 4), (4, 8, 12)], ids=str)
def test_positional_queries_make_the_strided_pick(sizes: tuple[int, ...]) -> None:
    """Key [content; position; |position|^2] and query [0; 2 target; -1]: the score is the negative squared distance."""
    patch, d = 2, len(sizes)
    grid = [s // patch for s in sizes]
    x = torch.randn(1, 3, *sizes, generator=torch.Generator().manual_seed(0))
    corners = torch.tensor(list(itertools.product(*map(range, grid))), dtype=torch.float32)
    position = corners - torch.tensor(grid).sub(1) / 2
    content = torch.randn(len(position), 4, generator=torch.Generator().manual_seed(1))
    keys = torch.cat([content, position, position.square().sum(1, keepdim=True)], dim=1)[None]
    targets = position[(corners % 2 == 0).all(1)]
    queries = torch.cat([torch.zeros(len(targets), 4), 2 * targets, -torch.ones(len(targets), 1)], dim=1)
    out, _ = patch_select(x, keys, queries, patch)
    strided = cut(x, patch).reshape(1, *grid, 3, *[patch] * d)[(slice(None), *[slice(0, None, 2)] * d)]
    assert torch.equal(out, paste(strided.flatten(1, d), tuple(s // 2 for s in sizes), patch))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 4, 4, 8)], ids=str)
def test_memory_layout_does_not_matter(shape: tuple[int, ...]) -> None:
    x, keys, queries = (t.detach() for t in problem(shape, 2, rank=5))
    expected, index = patch_select(x, keys, queries, 2)
    layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    turned = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    sliced = torch.cat([x, x], dim=1)[:, :3]
    for other in (x.contiguous(memory_format=layout), turned, sliced, x[..., None].expand(*shape, 2)[..., 0]):
        found, found_index = patch_select(other, keys, queries, 2)
        assert torch.equal(found, expected)
        assert torch.equal(found_index, index)
        assert found.is_contiguous()


def test_items_of_a_batch_do_not_touch_each_other() -> None:
    x, keys, queries = (t.detach() for t in problem((3, 2, 8, 8), 2, rank=4))
    together = patch_select(x, keys, queries, 2)
    for b in range(3):
        alone = patch_select(x[b : b + 1], keys[b : b + 1], queries, 2)
        assert all(torch.equal(a, t[b : b + 1]) for a, t in zip(alone, together, strict=True))


def test_an_empty_batch_gives_an_empty_batch() -> None:
    x, keys, queries = problem((0, 3, 8, 8), 2, rank=4)
    out, index = patch_select(x, keys, queries, 2)
    assert out.shape == (0, 3, 4, 4)
    assert index.shape == (0, 4)
    gradients = torch.autograd.grad(out.sum(), (x, keys, queries))
    assert [g.shape for g in gradients] == [x.shape, keys.shape, queries.shape]
    assert not gradients[2].any()


def test_the_reference_takes_an_empty_batch() -> None:
    x, keys, queries = (t.detach() for t in problem((0, 3, 8, 8), 2, rank=4))
    out, index = reference_patch_select(x, keys, queries, 2)
    found = reference_patch_select_backward(out, x, keys, queries, index, 2, 0.1, True, True, True)
    assert [g.shape for g in found] == [x.shape, keys.shape, queries.shape]


def test_float64_runs_the_compiled_float64_kernel(compiled: None) -> None:
    x, keys, queries = problem((1, 2, 4, 4), 1, rank=3)
    patch_select(x, keys, queries, 1)[0].sum().backward()
    assert last_backend("patch_select") == "cpu:generic64"
    assert last_backend("patch_select_backward") == "cpu:generic64"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_autocast_keeps_the_dtype_of_x_and_selects_in_float32(dtype: torch.dtype) -> None:
    x, keys, queries = (t.detach().float() for t in problem((1, 3, 16, 16), 2, rank=5))
    x = x.to(dtype)
    expected = patch_select(x, keys, queries, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = patch_select(x, keys, queries, 2)
        reference = reference_patch_select(x, keys, queries, 2)
    assert found[0].dtype == dtype
    assert torch.equal(found[1], expected[1])
    assert torch.equal(reference[1], expected[1])


REFUSED = [
    ((8, 8), {}, "x has shape [8, 8]; expected [B, C, H, W] or [B, C, D, H, W]"),
    ((1, 3, 8, 6), {}, "spatial size [8, 6] with patch 2; expected multiples of 4, pad or crop x"),
    ((1, 3, 8, 8), {"patch": 0}, "patch is 0; expected at least 1"),
    ((1, 3, 8, 8), {"keys": (1, 9, 5)}, "keys have shape [1, 9, 5]; expected [1, 16, r] for x [1, 3, 8, 8]"),
    ((2, 3, 8, 8), {}, "keys have shape [1, 16, 5]; expected [2, 16, r] for x [2, 3, 8, 8]"),
    ((1, 3, 8, 8), {"queries": (16, 5)}, "queries have shape [16, 5]; expected [4, r] for x [1, 3, 8, 8]"),
    ((1, 3, 8, 8), {"queries": (1, 4, 5)}, "queries have shape [1, 4, 5]; expected [M, r]"),
    ((1, 3, 8, 8), {"queries": (4, 6)}, "rank is 5 in keys and 6 in queries; expected one rank r >= 1"),
]


@pytest.mark.parametrize(("x", "changes", "message"), REFUSED, ids=[m for _, _, m in REFUSED])
def test_shapes_that_do_not_fit_are_named(x: tuple[int, ...], changes: dict, message: str) -> None:
    keys, queries = torch.ones(changes.get("keys", (1, 16, 5))), torch.ones(changes.get("queries", (4, 5)))
    with pytest.raises(ValueError) as caught:
        patch_select(torch.ones(x), keys, queries, changes.get("patch", 2))
    assert str(caught.value) == f"patch_select: {message}"


def test_dtypes_that_do_not_fit_are_named() -> None:
    keys, queries = torch.ones(1, 16, 5), torch.ones(4, 5)
    with pytest.raises(TypeError) as caught:
        patch_select(torch.ones(1, 3, 8, 8, dtype=torch.int32), keys, queries, 2)
    assert str(caught.value) == "patch_select: x is torch.int32; expected float16, bfloat16, float32 or float64"
    with pytest.raises(TypeError) as caught:
        patch_select(torch.ones(1, 3, 8, 8).double(), keys, queries, 2)
    assert str(caught.value) == (
        "patch_select: x is torch.float64 and keys are torch.float32; expected float64 for both or for neither"
    )


def test_a_direct_call_of_the_op_cannot_read_out_of_bounds(compiled: None) -> None:
    ops = torch.ops.medseg
    with pytest.raises(RuntimeError, match="multiple of 2 \\* patch"):
        ops.patch_select(torch.ones(1, 3, 8, 6), torch.ones(1, 12, 5), torch.ones(3, 5), 2)
    with pytest.raises(RuntimeError, match="index 99 is outside"):
        index = torch.tensor([[0, 1, 2, 99]], dtype=torch.int32)
        arguments = (torch.ones(1, 3, 4, 4), torch.ones(1, 3, 8, 8), torch.ones(1, 16, 5), torch.ones(4, 5), index)
        ops.patch_select_backward(*arguments, 2, 0.1, True, True, True)
