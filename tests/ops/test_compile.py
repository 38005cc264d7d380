"""The ops inside torch's machinery: opcheck, compile, export, meta tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medseg.ops import patch_select, score_argmax
from tests.ops._definitions import problem


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 2, 4, 4, 8), (0, 3, 4, 4)], ids=str)
def test_opcheck_of_patch_select(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, keys, queries = problem(shape, 1, rank=4, dtype=dtype)
    torch.library.opcheck(torch.ops.medseg.patch_select.default, (x, keys, queries, 1, 0.1, True))


@pytest.mark.parametrize("need", [(True, True), (True, False), (False, True)])
def test_opcheck_of_the_backward_op(need: tuple[bool, bool]) -> None:
    x, keys, queries = (t.detach() for t in problem((2, 3, 8, 8), 2, rank=4))
    out, index = patch_select(x, keys, queries, 2)
    torch.library.opcheck(
        torch.ops.medseg.patch_select_backward.default, (out, x, keys, queries, index, 2, 0.1, True, *need)
    )


@pytest.mark.parametrize("shared", [True, False])
def test_opcheck_of_score_argmax(shared: bool) -> None:
    keys = torch.randn(2, 9, 4).requires_grad_()
    queries = torch.randn(*(() if shared else (2,)), 5, 4).requires_grad_()
    # opcheck's aot test cannot add up an integer output and a differentiable one: it runs without gradients here, and
    # test_compiled_with_full_graph_forward_and_backward covers the rest.
    utilities = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.medseg.score_argmax.default, (keys, queries), test_utils=utilities)
    torch.library.opcheck(torch.ops.medseg.score_argmax.default, (keys.detach(), queries.detach()))
    index, score = score_argmax(keys.detach(), queries.detach())
    arguments = (score, keys.detach(), queries.detach(), index)
    torch.library.opcheck(torch.ops.medseg.score_argmax_backward.default, arguments)


def test_compiled_with_full_graph_forward_and_backward() -> None:
    def run(x: Tensor, keys: Tensor, queries: Tensor) -> Tensor:
        out, _ = patch_select(torch.relu(x), keys, queries, 2)
        return out.square().sum() + score_argmax(keys, queries)[1].sum()

    tensors = problem((2, 3, 8, 8), 2, rank=4)
    expected = torch.autograd.grad(run(*tensors), tensors)
    found = torch.autograd.grad(torch.compile(run, backend="aot_eager", fullgraph=True)(*tensors), tensors)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


class Half(nn.Module):
    def forward(self, x: Tensor, keys: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        return patch_select(x, keys, queries, 2)


def test_exported_programs_hold_the_op_and_give_the_same() -> None:
    tensors = tuple(t.detach() for t in problem((2, 3, 8, 8), 2, rank=4))
    program = torch.export.export(Half(), tensors)
    assert "medseg.patch_select" in program.graph_module.code
    for a, b in zip(program.module()(*tensors), Half()(*tensors), strict=True):
        assert torch.equal(a, b)


def test_exported_with_a_free_batch_size() -> None:
    tensors = tuple(t.detach() for t in problem((2, 3, 8, 8), 2, rank=4))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Half(), tensors, dynamic_shapes=({0: batch}, {0: batch}, None))
    other = tuple(t.detach() for t in problem((5, 3, 8, 8), 2, rank=4))
    assert torch.equal(program.module()(*other)[0], Half()(*other)[0])


def test_meta_tensors_give_shapes_without_values() -> None:
    x, keys, queries = (torch.empty(s, device="meta") for s in ((2, 3, 8, 4, 4), (2, 16, 5), (2, 5)))
    out, index = patch_select(x, keys, queries, 2)
    assert (out.shape, index.shape) == ((2, 3, 4, 2, 2), (2, 2))
    assert (out.device.type, index.dtype) == ("meta", torch.int32)
