"""patch_gather and patch_scatter: patches moved by an index, each the gradient of the other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medseg.ops import last_backend, patch_gather, patch_scatter
from medseg.ops.patch_gather import reference_patch_gather, reference_patch_scatter
from tests.ops._definitions import cut, paste

CASES = [
    ((2, 3, 8, 12), 2, (3, 2)),
    ((1, 5, 6, 6), 3, (1, 4)),
    ((3, 1, 4, 4, 8), 2, (2, 1, 3)),
    ((1, 24, 2, 2), 1, (2, 2)),
]


def inputs(shape: tuple[int, ...], patch: int, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    patches = int(torch.tensor([s // patch for s in shape[2:]]).prod())
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    index = torch.randint(patches, (shape[0], int(torch.tensor(grid).prod())), generator=generator)
    return x, index.int()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("shape", "patch", "grid"), CASES, ids=str)
def test_every_place_shows_the_patch_its_index_names(shape, patch: int, grid: tuple[int, ...], dtype) -> None:
    x, index = inputs(shape, patch, grid)
    x = x.to(dtype)
    expected = torch.stack([cut(x, patch)[b, index[b].long()] for b in range(shape[0])])
    expected = paste(expected, tuple(g * patch for g in grid), patch)
    for run in (patch_gather, reference_patch_gather):
        assert torch.equal(run(x, index, patch, grid), expected)
        assert torch.equal(run(x.transpose(-1, -2).contiguous().transpose(-1, -2), index, patch, grid), expected)


@pytest.mark.parametrize(("shape", "patch", "grid"), CASES, ids=str)
def test_scatter_adds_what_meets_and_leaves_the_rest_zero(shape, patch: int, grid: tuple[int, ...]) -> None:
    x, index = inputs(shape, patch, grid)
    moved = patch_gather(x, index, patch, grid)
    back = [s // patch for s in shape[2:]]
    expected = torch.zeros_like(cut(x, patch))
    for b in range(shape[0]):
        for m, k in enumerate(index[b].tolist()):
            expected[b, k] += cut(moved, patch)[b, m]
    for run in (patch_scatter, reference_patch_scatter):
        torch.testing.assert_close(run(moved, index, patch, back), paste(expected, shape[2:], patch))


@pytest.mark.parametrize(("shape", "patch", "grid"), CASES[:3], ids=str)
def test_gradients_are_exact_of_first_and_second_order(shape, patch: int, grid: tuple[int, ...]) -> None:
    x, index = inputs(shape, patch, grid)
    back = [s // patch for s in shape[2:]]
    x = x[:, :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda t: patch_gather(t, index, patch, grid), (x,))
    small = patch_gather(x.detach(), index, patch, grid).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: patch_scatter(t, index, patch, back), (small,))
    assert torch.autograd.gradgradcheck(lambda t: patch_gather(t, index, patch, grid).square(), (x,))


def test_compiled_code_ran(compiled: None) -> None:
    x, index = inputs(*CASES[0])
    patch_gather(x.requires_grad_(), index, 2, (3, 2)).sum().backward()
    assert last_backend("patch_gather") == "cpu:generic"
    assert last_backend("patch_scatter") == "cpu:generic64"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_opcheck(dtype: torch.dtype) -> None:
    x, index = inputs(*CASES[0])
    x = x.to(dtype).requires_grad_()
    torch.library.opcheck(torch.ops.medseg.patch_gather.default, (x, index, 2, [3, 2]))
    small = patch_gather(x.detach(), index, 2, (3, 2)).requires_grad_()
    torch.library.opcheck(torch.ops.medseg.patch_scatter.default, (small, index, 2, [4, 6]))


def test_an_index_outside_is_refused(compiled: None) -> None:
    x, index = inputs(*CASES[0])
    with pytest.raises(RuntimeError, match=r"index 24 is outside 0\.\.23"):
        patch_gather(x, index.fill_(24), 2, (3, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 5}, "spatial size [8, 12] with patch 5; expected multiples of 5"),
        ({"patch": 0}, "patch is 0; expected at least 1"),
        ({"grid": (3,)}, "grid is [3]; expected 2 numbers of at least 1"),
        ({"grid": (3, 3)}, "index has shape [2, 6]; expected [2, 9]"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    x, index = inputs(*CASES[0])
    with pytest.raises(ValueError) as caught:
        patch_gather(x, index, **{"patch": 2, "grid": (3, 2), **change})
    assert str(caught.value) == f"patch_gather: {message}"
    with pytest.raises(TypeError, match=r"index is torch\.int64; expected torch\.int32"):
        patch_gather(x, index.long(), 2, (3, 2))
