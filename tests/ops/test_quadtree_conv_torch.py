"""quadtree_conv inside torch's machinery, its reference, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from medseg.ops import quadtree_conv
from medseg.ops._quadtree_conv_reference import reference_quadtree_conv, reference_quadtree_conv_backward
from medseg.ops.quadtree_conv import MODES, NORMS
from tests.ops._quadtree_problems import problem, sides
from tests.ops.conftest import run_python


def op_arguments(p, mode: int, activation: int, norm: int) -> tuple:
    tile, rows = sides(p.x.shape, p.grid), p.count.tolist()
    return (*p[:6], p.index, p.count, p.explore, tile, rows, mode, activation, 0.1, norm, 1e-5)


CASES = [(m, a, n) for m in range(3) for a in (0, 2) for n in range(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("mode", "activation", "norm"), CASES)
def test_reference_and_compiled_code_return_the_same_in_every_output(mode, activation, norm, dtype) -> None:
    """Also what is kept for the gradient: rows of active tiles, zeros in reserved rows, statistics, sign bits."""
    p = problem((2, 6, 13, 10), (4, 3), (0.7, 0.3), affine=norm > 0, dtype=dtype)
    arguments = list(op_arguments(p, mode, activation, norm))
    arguments[10] = [n + 2 for n in arguments[10]]
    arguments = [a.detach() if isinstance(a, Tensor) else a for a in arguments]
    found, expected = torch.ops.medseg.quadtree_conv(*arguments), reference_quadtree_conv(*arguments)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-11, torch.bfloat16: 0.1}[dtype]
    for a, b in zip(found, expected, strict=True):
        assert (a.shape, a.dtype, a.stride()) == (b.shape, b.dtype, b.stride())
        if a.dtype == torch.uint8:
            assert (a != b).float().mean() < (1e-3 if dtype == torch.float64 else 0.1)
        else:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("mode", "activation", "norm"), CASES)
def test_reference_and_compiled_code_have_the_same_backward_pass(mode, activation, norm) -> None:
    p = problem((2, 6, 13, 10), (4, 3), (0.7, 0.3), affine=norm > 0)
    arguments = [a.detach() if isinstance(a, Tensor) else a for a in op_arguments(p, mode, activation, norm)]
    _, store, pre, stats = torch.ops.medseg.quadtree_conv(*arguments)
    kept = (arguments[0].cos(), *arguments[:5], *arguments[6:9], store, pre, stats, *arguments[9:])
    for need in ((True, True, True), (True, False, False), (False, False, True)):
        found = torch.ops.medseg.quadtree_conv_backward(*kept, *need)
        expected = reference_quadtree_conv_backward(*kept, *need)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9 * (1 + float(b.abs().max()) if b.numel() else 1))


def test_the_reference_runs_when_it_is_forced() -> None:
    code = """
import json, torch
from medseg.ops import last_backend
from tests.ops._quadtree_problems import problem, masked_dense, gradients
p = problem((2, 3, 13, 10), (4, 4), (0.7, 0.3), affine=True)
out, expected = p.run(norm="batch")[0], masked_dense(p, norm="batch")
pairs = zip(gradients(out, p.leaves()), gradients(expected, p.leaves()))
worst = max(float((a - b).abs().max()) for a, b in pairs)
print(json.dumps([float((out - expected).abs().max()), worst, last_backend("quadtree_conv_backward")]))
"""
    forward, backward, backend = json.loads(run_python(code, MEDSEG_OPS="reference").stdout)
    assert forward < 1e-10
    assert backward < 1e-8
    assert backend == "reference"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("mode", "activation", "norm"), [(0, 1, 0), (1, 2, 0), (1, 1, 1), (2, 0, 2)])
def test_opcheck(mode, activation, norm, dtype) -> None:
    for shape, grid in (((2, 3, 8, 8), (2, 2)), ((1, 2, 4, 4, 8), (2, 1, 2)), ((0, 3, 4, 4), (2, 2))):
        p = problem(shape, grid, (0.75, 0.5), affine=norm > 0, dtype=dtype)
        torch.library.opcheck(torch.ops.medseg.quadtree_conv.default, op_arguments(p, mode, activation, norm))


@pytest.mark.parametrize("need", [(True, True, True), (True, False, False), (False, True, True)])
def test_opcheck_of_the_backward_op(need) -> None:
    p = problem((2, 3, 8, 8), (2, 2), (0.75, 0.5), affine=True, dtype=torch.float32)
    arguments = [a.detach() if isinstance(a, Tensor) else a for a in op_arguments(p, 1, 1, 1)]
    out, store, pre, stats = torch.ops.medseg.quadtree_conv(*arguments)
    kept = (out, *arguments[:5], *arguments[6:9], store, pre, stats, *arguments[9:])
    torch.library.opcheck(torch.ops.medseg.quadtree_conv_backward.default, (*kept, *need))


@pytest.mark.parametrize("norm", [None, "batch"])
def test_compiled_with_full_graph_forward_and_backward(norm: str | None) -> None:
    p = problem((2, 3, 12, 10), (3, 2), (0.75, 0.5), affine=norm is not None, dtype=torch.float32)

    def run(*leaves: Tensor) -> Tensor:
        filled = iter(leaves)
        parts = [None if t is None else next(filled) for t in p[:6]]
        out, _ = quadtree_conv(torch.relu(parts[0]), *parts[1:], **p.lists(), mode="sum", norm=norm)
        return out.square().sum()

    expected = torch.autograd.grad(run(*p.leaves()), p.leaves())
    found = torch.autograd.grad(torch.compile(run, backend="aot_eager", fullgraph=True)(*p.leaves()), p.leaves())
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


class Layer(nn.Module):
    """The lists are inputs of the program."""

    def __init__(self, weight: Tensor, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.weight, self.grid = nn.Parameter(weight.detach()), grid

    def forward(self, x: Tensor, index: Tensor, count: Tensor) -> Tensor:
        return quadtree_conv(x, self.weight, index=index, count=count, grid=self.grid, mode="sum")[0]


def test_exported_programs_hold_the_op_and_serve_other_lists() -> None:
    p = problem((2, 3, 12, 10), (3, 2), (0.75, 0.5), dtype=torch.float32)
    layer = Layer(p.weight, p.grid)
    index = torch.nn.functional.pad(p.index, (0, 12 - p.index.shape[1]), value=-1)
    program = torch.export.export(layer, (p.x.detach(), index, p.count))
    assert "medseg.quadtree_conv" in program.graph_module.code
    other = problem((2, 3, 12, 10), (3, 2), (0.5, 0.25), dtype=torch.float32, seed=1)
    index = torch.nn.functional.pad(other.index, (0, 12 - other.index.shape[1]), value=-1)
    found = program.module()(other.x.detach(), index, other.count)
    assert torch.equal(found, layer(other.x.detach(), index, other.count))


def test_meta_tensors_give_shapes_without_values() -> None:
    x = torch.empty(2, 3, 9, 8, 8, device="meta")
    lists = {"index": torch.empty(2, 5, dtype=torch.int32, device="meta")}
    lists["count"] = torch.empty(2, dtype=torch.int32, device="meta")
    weight = torch.empty(2, 3, 3, 3, 3, 3, device="meta")
    out, stats = quadtree_conv(x, weight, **lists, grid=(2, 2, 2), norm="instance")
    assert (out.shape, stats.shape, out.device.type) == (x.shape, (2, 2, 2, 3), "meta")


def call(**changes: object) -> None:
    given = {
        "x": torch.ones(1, 2, 8, 8),
        "weight": torch.ones(2, 2, 2, 3, 3),
        "index": torch.tensor([[0, 1], [0, -1]], dtype=torch.int32),
        "count": torch.tensor([2, 1], dtype=torch.int32),
        "grid": (2, 2),
    }
    quadtree_conv(**{**given, **changes})


REFUSED = [
    ({"x": torch.ones(2, 8, 8)}, "x has shape [2, 8, 8]; expected [B, C, H, W] or [B, C, D, H, W], not empty"),
    (
        {"weight": torch.ones(2, 2, 3, 3, 3)},
        "weight has shape [2, 2, 3, 3, 3]; expected [rounds, 2, 2, k, k] with k 1, 3 or 5 for x [1, 2, 8, 8]",
    ),
    (
        {"weight": torch.ones(2, 2, 2, 7, 7)},
        "weight has shape [2, 2, 2, 7, 7]; expected [rounds, 2, 2, k, k] with k 1, 3 or 5 for x [1, 2, 8, 8]",
    ),
    ({"bias": torch.ones(2)}, "bias has shape [2]; expected [2, 2]"),
    ({"scale": torch.ones(2, 2)}, "scale or shift without a norm; give norm, or fold them into weight and bias"),
    ({"index": torch.ones(3, 2, dtype=torch.int32)}, "index has shape [3, 2]; expected [2, tiles]"),
    ({"count": torch.ones(3, dtype=torch.int32)}, "count has shape [3]; expected [2]"),
    ({"grid": (2,)}, "grid is [2]; expected 2 numbers of tiles, at least 1"),
    ({"gate": torch.ones(2, 3)}, "gate has shape [2, 3]; expected [2, 4], one value a tile"),
    ({"mode": "add"}, "mode is 'add'; expected one of replace, sum, parallel"),
    ({"activation": "gelu"}, "activation is 'gelu'; expected one of None, relu, leaky_relu"),
    ({"norm": "group"}, "norm is 'group'; expected one of None, batch, instance"),
    ({"slope": -0.5}, "slope is -0.5; expected at least 0"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_what_does_not_fit_is_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call(**changes)
    assert str(caught.value) == f"quadtree_conv: {message}"


def test_dtypes_that_do_not_fit_are_named() -> None:
    with pytest.raises(TypeError) as caught:
        call(x=torch.ones(1, 2, 8, 8, dtype=torch.int32))
    assert str(caught.value) == "quadtree_conv: x is torch.int32; expected float16, bfloat16, float32 or float64"
    with pytest.raises(TypeError) as caught:
        call(index=torch.zeros(2, 2, dtype=torch.int64))
    assert str(caught.value) == "quadtree_conv: index is torch.int64; expected torch.int32"


LISTS = [
    ([[0, 4], [0, -1]], [2, 1], "index names tile 4 in round 1; there are 4"),
    ([[0, 1], [2, 2]], [2, 2], "index names tile 2 twice in round 2"),
    ([[0, 1], [0, -1]], [3, 1], "count 3 in round 1; the list has room for 2"),
]


@pytest.mark.parametrize(("index", "count", "message"), LISTS, ids=[m for _, _, m in LISTS])
def test_lists_that_do_not_fit_are_refused_before_anything_is_read(index, count, message: str, compiled: None) -> None:
    lists = {"index": torch.tensor(index, dtype=torch.int32), "count": torch.tensor(count, dtype=torch.int32)}
    with pytest.raises(RuntimeError, match=message):
        call(**lists)


def test_too_few_reserved_rows_are_refused(compiled: None) -> None:
    with pytest.raises(RuntimeError, match="rows reserves 1 tiles in round 1, count is 2"):
        call(rows=[1, 1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("norm", NORMS)
def test_an_empty_batch_passes(mode: str, norm: str | None) -> None:
    p = problem((0, 3, 8, 8), (2, 2), (0.5, 0.5), affine=norm is not None)
    out, _ = p.run(mode=mode, norm=norm)
    assert out.shape == (0, 3, 8, 8)
    found = torch.autograd.grad(out.sum(), p.leaves())
    assert all((g == 0).all() for g in found)
