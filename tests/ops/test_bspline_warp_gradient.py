"""bspline_warp: gradients by the image and by the control points, and torch's machinery."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medseg.ops import bspline_warp
from medseg.ops._bspline_warp_reference import reference_bspline_warp, reference_bspline_warp_backward
from tests.ops.test_bspline_warp import CASES, problem

SMALL = [((2, 2, 4, 5), (3, 2), (2.0, 3.3), (0.0, 0.2)), ((1, 2, 3, 4, 3), (2, 2, 3), (2.2, 3.0, 1.1), (0.1, 0.0, 0.0))]


@pytest.mark.parametrize("padding", ["border", "constant"])
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_gradcheck(case, padding: str) -> None:
    x, control, spacing, origin = problem(*case, amplitude=1.3)
    leaves = (x.requires_grad_(), control.requires_grad_())

    def run(image: Tensor, points: Tensor) -> Tensor:
        return bspline_warp(image, points, spacing, origin, padding_mode=padding, fill=0.7)

    assert torch.autograd.gradcheck(run, leaves, eps=1e-7, atol=1e-6)
    shared = (leaves[0], control.detach()[:1].clone().requires_grad_())
    assert torch.autograd.gradcheck(run, shared, eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_reference(case, nearest: bool, border: bool) -> None:
    x, control, spacing, origin = problem(*case)
    options = (origin, spacing, nearest, border, 0.5)
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    out = torch.ops.medseg.bspline_warp(x, control, *options)
    torch.testing.assert_close(out, reference_bspline_warp(x, control, *options), rtol=0, atol=1e-11)
    expected = reference_bspline_warp_backward(grad, x, control, *options, True, True)
    for dtype, limit in ((torch.float64, 1e-10), (torch.float32, 1e-3)):
        if nearest and dtype == torch.float32:
            continue  # a tie may fall to the other side
        found = torch.ops.medseg.bspline_warp_backward(*(t.to(dtype) for t in (grad, x, control)), *options, True, True)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=0, atol=limit * float(b.abs().max().clamp(min=1)))


def test_the_references_gradient_is_that_of_autograd() -> None:
    x, control, spacing, origin = problem(*SMALL[1])
    for border in (True, False):
        leaves = [x.clone().requires_grad_(), control.clone().requires_grad_()]
        out = reference_bspline_warp(*leaves, origin, spacing, False, border, 0.5)
        grad = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
        expected = torch.autograd.grad(out, leaves, grad)
        found = reference_bspline_warp_backward(grad, x, control, origin, spacing, False, border, 0.5, True, True)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)


def test_only_what_is_needed_is_computed() -> None:
    x, control, spacing, origin = problem(*CASES[0])
    options = (origin, spacing, False, True, 0.0)
    dx, dcontrol = torch.ops.medseg.bspline_warp_backward(x, x, control, *options, True, False)
    assert (dx.shape, dcontrol.shape) == (x.shape, (0,))
    dx, dcontrol = torch.ops.medseg.bspline_warp_backward(x, x, control, *options, False, True)
    assert (dx.shape, dcontrol.shape) == ((0,), control.shape)


def test_a_strided_gradient_counts_like_a_contiguous_one() -> None:
    x, control, spacing, origin = problem(*CASES[2])
    options = (origin, spacing, False, True, 0.0, True, True)
    grad = torch.randn_like(x)
    expected = torch.ops.medseg.bspline_warp_backward(grad, x, control, *options)
    found = torch.ops.medseg.bspline_warp_backward(grad.mT.contiguous().mT, x.mT.contiguous().mT, control, *options)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_second_derivatives_are_refused() -> None:
    x, control, spacing, origin = problem(*SMALL[0])
    x.requires_grad_()
    (grad,) = torch.autograd.grad(bspline_warp(x, control, spacing, origin).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="bspline_warp: second derivatives are not implemented"):
        grad.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("nearest", [False, True])
def test_opcheck(dtype: torch.dtype, nearest: bool) -> None:
    x, control, spacing, origin = problem(*CASES[0], dtype=dtype)
    options = (origin, spacing, nearest, False, 0.5)
    torch.library.opcheck(torch.ops.medseg.bspline_warp_backward.default, (x, x, control, *options, True, True))
    leaves = (x.requires_grad_(), control if nearest else control.requires_grad_())
    torch.library.opcheck(torch.ops.medseg.bspline_warp.default, (*leaves, *options))
    labels = x.detach().int()
    if nearest:
        torch.library.opcheck(
            torch.ops.medseg.bspline_warp.default, (labels, control, origin, spacing, True, False, 1.0)
        )


def test_compiled_with_full_graph_forward_and_backward() -> None:
    x, control, spacing, origin = problem(*CASES[0])

    def run(image: Tensor, points: Tensor) -> Tensor:
        return bspline_warp(torch.relu(image), points, spacing, origin, padding_mode="constant").square().sum()

    leaves = [x.requires_grad_(), control.requires_grad_()]
    expected = torch.autograd.grad(run(*leaves), leaves)
    found = torch.autograd.grad(torch.compile(run, backend="aot_eager", fullgraph=True)(*leaves), leaves)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


class Warp(nn.Module):
    def forward(self, x: Tensor, control: Tensor) -> Tensor:
        return bspline_warp(x, control, (3.0, 3.0), (0.0, 0.0))


def test_exported_with_a_free_batch_size() -> None:
    x, control, _, _ = problem(*CASES[0])
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Warp(), (x, control[:1]), dynamic_shapes=({0: batch}, None))
    assert "medseg.bspline_warp" in program.graph_module.code
    other = torch.randn(5, *x.shape[1:], dtype=x.dtype)
    assert torch.equal(program.module()(other, control[:1]), Warp()(other, control[:1]))


def test_meta_tensors_give_shapes_without_values() -> None:
    x, control = torch.empty(2, 3, 4, 5, 6, device="meta"), torch.empty(1, 3, 2, 2, 2, device="meta")
    assert bspline_warp(x, control, (2, 2, 2), (0, 0, 0)).shape == x.shape
