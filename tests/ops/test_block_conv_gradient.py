"""block_conv backward: the gradients of the dense convolution of which the active tiles are kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medseg.ops import block_conv, last_backend
from medseg.ops.block_conv import reference_block_conv_backward
from tests.ops._blocks import LAST, literal_block_conv, problem

SHAPES = [
    ((2, 3, 16, 24), (8, 8)),
    ((1, 5, 19, 33), (5, 16)),
    ((2, 2, 9, 10, 11), (4, 4, 4)),
    ((1, 2, 7, 9), (1, 2)),
    ((1, 2, 5, 6, 7), (1, 3, 2)),
]
NAMES = ("dx", "dweight", "dbias")


def upstream(out: Tensor) -> Tensor:
    return torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(out.dtype)


def gradients(leaves: tuple[Tensor, ...], index: Tensor, tile, **options) -> tuple[Tensor, ...]:
    out = block_conv(*leaves, index, tile, **options)
    return torch.autograd.grad(out, leaves, upstream(out))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("zero_halo", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("shape", "tile"), SHAPES, ids=str)
def test_equals_autograd_of_the_dense_convolution(
    compiled: None, shape, tile, kernel: int, zero_halo: bool, packed: bool
) -> None:
    *leaves, index = problem(shape, 4, kernel, tile, active=0.6)
    found = gradients(tuple(leaves), index, tile, zero_halo=zero_halo, packed=packed)
    assert last_backend("block_conv_backward") == "cpu:generic64"
    literal = literal_block_conv(*leaves, index, tile, zero_halo=zero_halo, packed=packed)
    expected = torch.autograd.grad(literal, leaves, upstream(literal))
    x, weight, _ = (t.detach() for t in leaves)
    reference = reference_block_conv_backward(
        upstream(literal), x, weight, index, tile, zero_halo, packed, True, True, True
    )
    for name, a, b, c in zip(NAMES, found, expected, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")
        torch.testing.assert_close(c, b, rtol=1e-12, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
@pytest.mark.parametrize("outputs", [1, 3, 5, 17, 24])
@pytest.mark.parametrize("inputs", [1, 3, 5, 17, 24])
def test_no_channel_is_lost(inputs: int, outputs: int, layout: str) -> None:
    x, weight, bias, index = problem((2, inputs, 20, 16), outputs, 3, (8, 8), seed=inputs)
    literal = literal_block_conv(x, weight, bias, index, (8, 8), packed=True)
    expected = torch.autograd.grad(literal, (x, weight, bias), upstream(literal))
    if layout == "channels-last":
        x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    found = gradients((x, weight, bias), index, 8)
    singles = tuple(t.detach().float().requires_grad_() for t in (x, weight, bias))
    for a, b, c in zip(found, expected, gradients(singles, index, 8), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(c.double(), b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("side", [4, 8, 16, 32])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_every_side_of_a_tile_in_single_precision(side: int, layout: torch.memory_format) -> None:
    *leaves, index = problem((2, 16, 70, 66), 16, 3, (side, side), seed=side)
    exact = gradients(tuple(leaves), index, side)
    singles = [t.detach().float() for t in leaves]
    singles[0] = singles[0].contiguous(memory_format=layout)
    found = gradients(tuple(t.requires_grad_() for t in singles), index, side)
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize(("shape", "tile", "kernel"), [((2, 2, 6, 7), (4, 4), 3), ((1, 2, 4, 5, 4), (2, 2, 2), 5)])
def test_gradcheck_of_the_compiled_float64_kernel(compiled: None, shape, tile, kernel: int) -> None:
    *leaves, index = problem(shape, 3, kernel, tile)
    for options in ({}, {"zero_halo": True}, {"packed": False}):
        call = lambda *t, options=options: block_conv(*t, index, tile, **options)  # noqa: E731
        assert torch.autograd.gradcheck(call, leaves, fast_mode=True)
    assert last_backend("block_conv_backward") == "cpu:generic64"


@pytest.mark.parametrize("halo", ["real", "zero"])
def test_only_inputs_that_an_active_tile_reads_receive_a_gradient(halo: str) -> None:
    x, weight = torch.ones(1, 1, 12, 12, requires_grad=True), torch.ones(1, 1, 3, 3)
    index = torch.tensor([4], dtype=torch.int32)  # the middle of 3 x 3 tiles
    block_conv(x, weight, None, index, 4, zero_halo=halo == "zero").sum().backward()
    reach = 1 if halo == "real" else 0
    touched = torch.zeros(12, 12, dtype=torch.bool)
    touched[4 - reach : 8 + reach, 4 - reach : 8 + reach] = True
    assert torch.equal(x.grad[0, 0] != 0, touched)
    assert x.grad[0, 0, 5, 5] == 9


def test_the_bias_receives_the_sum_over_the_active_voxels_in_the_map() -> None:
    x, weight, bias = torch.ones(1, 2, 6, 6), torch.ones(3, 2, 3, 3), torch.zeros(3, requires_grad=True)
    index = torch.tensor([3, -1, 0], dtype=torch.int32)  # 16 voxels, and 4 of a tile that sticks out
    block_conv(x, weight, bias, index, 4).backward(torch.ones(3, 3, 4, 4))
    assert bias.grad.tolist() == [20.0, 20.0, 20.0]


def test_tiles_beyond_the_map_give_no_gradient() -> None:
    x, weight, bias, _ = problem((1, 3, 10, 12), 4, 3, (4, 4))
    some, more = torch.tensor([1], dtype=torch.int32), torch.tensor([4, 1, 19], dtype=torch.int32)
    expected = gradients((x, weight, bias), some, 4, grid=(4, 5), packed=False)
    found = gradients((x, weight, bias), more, 4, grid=(4, 5), packed=False)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("numbers", [[], [-1]], ids=str)
def test_an_empty_list_gives_zero_gradients(numbers: list[int]) -> None:
    x, weight, bias, _ = problem((2, 3, 8, 8), 4, 3, (4, 4))
    found = gradients((x, weight, bias), torch.tensor(numbers, dtype=torch.int32), 4)
    assert [g.shape for g in found] == [x.shape, weight.shape, bias.shape]
    assert not any(g.any() for g in found)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)], ids=str)
def test_only_what_is_asked_for_is_differentiated(wanted: tuple[int, ...]) -> None:
    *leaves, index = problem((1, 3, 16, 16), 4, 3, (8, 8))
    full = gradients(tuple(leaves), index, 8)
    chosen = [t.detach().requires_grad_(i in wanted) for i, t in enumerate(leaves)]
    out = block_conv(*chosen, index, 8)
    out.backward(upstream(out))
    for i, (t, g) in enumerate(zip(chosen, full, strict=True)):
        assert (t.grad is None) == (i not in wanted)
        assert t.grad is None or torch.equal(t.grad, g)


def test_a_convolution_without_bias() -> None:
    x, weight, bias, index = problem((1, 3, 16, 16), 4, 3, (8, 8))
    out = block_conv(x, weight, None, index, 8)
    found = torch.autograd.grad(out, (x, weight), upstream(out))
    expected = gradients((x, weight, bias), index, 8)
    assert all(torch.equal(a, b) for a, b in zip(found, expected[:2], strict=True))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("shape", "tile"), [((2, 5, 20, 24), (8, 8)), ((1, 16, 8, 9, 10), (4, 4, 4))], ids=str)
def test_memory_layout_does_not_change_a_bit(shape, tile, packed: bool) -> None:
    x, weight, bias, index = (t.detach() for t in problem(shape, 8, 3, tile))
    grad = upstream(block_conv(x, weight, bias, index, tile, packed=packed))
    run = torch.ops.medseg.block_conv_backward
    expected = run(grad, x, weight, index, tile, False, packed, True, True, True)
    last = LAST[x.ndim]
    wide = torch.cat([grad, grad], dim=1).contiguous(memory_format=last)[:, : grad.shape[1]]
    for g in (grad, grad.contiguous(memory_format=last), wide, grad[..., None].expand(*grad.shape, 3)[..., 1]):
        for other in (x, x.contiguous(memory_format=last), torch.cat([x, x], dim=1)[:, : x.shape[1]]):
            found = run(g, other, weight, index, tile, False, packed, True, True, True)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
            assert found[0].is_contiguous(memory_format=last if other.stride(1) == 1 else torch.contiguous_format)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    *leaves, index = problem((1, 17, 20, 24), 5, 3, (8, 8), dtype=torch.float32)
    halves = tuple(t.detach().to(dtype).requires_grad_() for t in leaves)
    out = block_conv(*halves, index, 8)
    found = torch.autograd.grad(out, halves, upstream(out))
    wide = (t.detach().float() for t in (upstream(out), halves[0], halves[1]))
    expected = torch.ops.medseg.block_conv_backward(*wide, index, [8, 8], False, True, True, True, True)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert torch.equal(a, b.to(dtype))


def test_autocast_returns_gradients_in_the_dtype_of_the_leaves() -> None:
    *leaves, index = problem((1, 3, 16, 16), 4, 3, (8, 8), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block_conv(*leaves, index, 8)
    found = torch.autograd.grad(out, leaves, upstream(out))
    assert [g.dtype for g in found] == [torch.float32] * 3
    for a, b in zip(found, gradients(tuple(leaves), index, 8), strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05 * float(b.abs().max()))


def test_second_derivatives_are_refused_in_one_line() -> None:
    x, weight, bias, index = problem((1, 3, 8, 8), 4, 3, (4, 4))
    (dx,) = torch.autograd.grad(block_conv(x, weight, bias, index, 4).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^block_conv: second derivatives are not implemented"):
        dx.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("shape", "tile"), [((2, 7, 64, 72), (8, 8)), ((1, 4, 16, 16, 24), (1, 4, 4))], ids=str)
def test_the_thread_count_does_not_change_a_bit(compiled: None, shape, tile, dtype: torch.dtype) -> None:
    threads = torch.get_num_threads()
    *leaves, index = problem(shape, 9, 3, tile, active=0.9)
    leaves = [t.detach().to(dtype).requires_grad_() for t in leaves]
    try:
        results = []
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            results.append(gradients(tuple(leaves), index, tile))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_direct_call_of_the_op_cannot_read_out_of_bounds(compiled: None) -> None:
    x, weight, bias, index = (t.detach() for t in problem((1, 3, 8, 8), 4, 3, (4, 4)))
    out = block_conv(x, weight, bias, index, 4)
    run = torch.ops.medseg.block_conv_backward
    with pytest.raises(RuntimeError, match="grad must have the shape of the output"):
        run(out[:1], x, weight, index, [4, 4], False, True, True, True, True)
    with pytest.raises(RuntimeError, match="index holds tile 99"):
        run(out[:1], x, weight, torch.tensor([99], dtype=torch.int32), [4, 4], False, True, True, True, True)
