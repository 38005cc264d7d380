"""block_conv inside torch's machinery: opcheck, compile, export, meta tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medseg.ops import block_conv
from tests.ops._blocks import LAST, problem

FLAT, SOLID = ((2, 3, 10, 8), (4, 4)), ((1, 2, 4, 5, 6), (2, 3, 3))
CASES = [
    (*FLAT, True, "contiguous"),
    (*FLAT, False, "channels-last"),
    (*SOLID, True, "channels-last"),
    (*SOLID, False, "contiguous"),
]


@pytest.mark.parametrize(("shape", "tile", "packed", "layout"), CASES, ids=str)
def test_opcheck(shape, tile, packed: bool, layout: str) -> None:
    x, weight, bias, index = problem(shape, 4, 3, tile, dtype=torch.float32)
    if layout == "channels-last":
        x = x.detach().contiguous(memory_format=LAST[x.ndim]).requires_grad_()
    arguments = (x, weight, bias, index, tile, False, packed)
    torch.library.opcheck(torch.ops.medseg.block_conv.default, arguments)
    out = block_conv(x, weight, bias, index, tile, packed=packed).detach()
    for needs in ((True, True, True), (True, False, False)):
        torch.library.opcheck(
            torch.ops.medseg.block_conv_backward.default,
            (out, x.detach(), weight.detach(), index, tile, False, packed, *needs),
        )


@pytest.mark.parametrize("numbers", [[], [-1]], ids=str)
def test_opcheck_of_an_empty_list(numbers: list[int]) -> None:
    x, weight, bias, _ = problem((2, 3, 8, 8), 4, 3, (4, 4))
    index = torch.tensor(numbers, dtype=torch.int32)
    torch.library.opcheck(torch.ops.medseg.block_conv.default, (x, weight, bias, index, (4, 4), False, True))


def test_compiled_with_full_graph_forward_and_backward() -> None:
    *leaves, index = problem((2, 3, 16, 16), 4, 3, (8, 8))

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        tiles = block_conv(torch.relu(x), weight, bias, index, 8)
        return tiles.square().sum() + block_conv(x, weight, None, index, 8, packed=False, zero_halo=True).sum()

    expected = torch.autograd.grad(run(*leaves), leaves)
    found = torch.autograd.grad(torch.compile(run, backend="aot_eager", fullgraph=True)(*leaves), leaves)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


class Layer(nn.Module):
    def forward(self, x: Tensor, weight: Tensor, bias: Tensor, index: Tensor) -> Tensor:
        return block_conv(x, weight, bias, index, 4)


def test_exported_with_a_free_number_of_tiles() -> None:
    tensors = tuple(t.detach() for t in problem((2, 3, 16, 16), 4, 3, (4, 4)))
    free = torch.export.Dim("tiles", min=2, max=32)
    program = torch.export.export(Layer(), tensors, dynamic_shapes=(None, None, None, {0: free}))
    assert "medseg.block_conv" in program.graph_module.code
    other = (*tensors[:3], torch.tensor([5, 1, 30, -1, 7], dtype=torch.int32))
    assert torch.equal(program.module()(*other), Layer()(*other))


def test_exported_with_a_free_batch_size() -> None:
    tensors = tuple(t.detach() for t in problem((2, 3, 16, 16), 4, 3, (4, 4)))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Layer(), tensors, dynamic_shapes=({0: batch}, None, None, None))
    other = (torch.randn(5, 3, 16, 16, dtype=torch.float64), *tensors[1:3], tensors[3])
    assert torch.equal(program.module()(*other), Layer()(*other))


def test_meta_tensors_give_shapes_without_values() -> None:
    x, weight = torch.empty(2, 3, 9, 8, device="meta"), torch.empty(5, 3, 3, 3, device="meta")
    index = torch.empty(7, dtype=torch.int32, device="meta")
    assert block_conv(x, weight, None, index, 4).shape == (7, 5, 4, 4)
    assert block_conv(x, weight, None, index, 4, packed=False).shape == (2, 5, 9, 8)
