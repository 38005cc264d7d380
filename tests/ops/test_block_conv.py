"""block_conv forward: equal to the dense convolution inside the active tiles, zero elsewhere, clear about bad input."""

from __future__ import annotations

import pytest
import torch

from medseg.ops import block_conv, last_backend
from medseg.ops.block_conv import reference_block_conv
from tests.ops._blocks import LAST, literal_block_conv, problem
from tests.ops.conftest import run_python

SHAPES = [
    ((2, 3, 16, 24), (8, 8)),
    ((1, 5, 19, 33), (5, 16)),
    ((2, 2, 9, 10, 11), (4, 4, 4)),
    ((1, 4, 40, 40), (32, 32)),
    ((1, 3, 6, 16, 17), (3, 8, 5)),
]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("zero_halo", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("shape", "tile"), SHAPES, ids=str)
def test_equals_the_dense_convolution_in_the_active_tiles(
    compiled: None, shape, tile, kernel: int, zero_halo: bool, packed: bool
) -> None:
    x, weight, bias, index = (t.detach() for t in problem(shape, 4, kernel, tile))
    found = block_conv(x, weight, bias, index, tile, zero_halo=zero_halo, packed=packed)
    assert last_backend("block_conv") == "cpu:generic64"
    expected = literal_block_conv(x, weight, bias, index, tile, zero_halo=zero_halo, packed=packed)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    reference = reference_block_conv(x, weight, bias, index, tile, zero_halo, packed)
    torch.testing.assert_close(reference, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
@pytest.mark.parametrize("outputs", [1, 3, 5, 17, 24])
@pytest.mark.parametrize("inputs", [1, 3, 5, 17, 24])
def test_no_channel_is_lost(inputs: int, outputs: int, layout: str) -> None:
    x, weight, bias, index = (t.detach() for t in problem((2, inputs, 20, 16), outputs, 3, (8, 8), seed=inputs))
    expected = literal_block_conv(x, weight, bias, index, (8, 8), packed=True)
    if layout == "channels-last":
        x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(block_conv(x, weight, bias, index, 8), expected, rtol=1e-12, atol=1e-12)
    single = block_conv(x.float(), weight.float(), bias.float(), index, 8)
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [4, 7, 8, 16, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_side_of_a_tile(side: int, dtype: torch.dtype) -> None:
    x, weight, bias, index = (t.detach() for t in problem((1, 6, 45, 50), 7, 5, (side, side), seed=side))
    expected = literal_block_conv(x, weight, bias, index, (side, side), packed=False)
    found = block_conv(x.to(dtype), weight.to(dtype), bias.to(dtype), index, side, packed=False)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_every_tile_active_is_the_dense_convolution() -> None:
    x, weight, bias, _ = (t.detach() for t in problem((2, 3, 24, 30), 5, 3, (8, 8)))
    index = torch.arange(2 * 3 * 4, dtype=torch.int32)
    found = block_conv(x, weight, bias, index, 8, packed=False)
    expected = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_halo_is_the_neighbours_or_zero() -> None:
    x, weight = torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3)
    index = torch.tensor([0], dtype=torch.int32)
    real = block_conv(x, weight, None, index, 4)[0, 0]
    alone = block_conv(x, weight, None, index, 4, zero_halo=True)[0, 0]
    assert real[[0, 0, 3, 1], [0, 3, 3, 1]].tolist() == [4, 6, 9, 9]  # tile 0 lies in the corner of the map
    assert alone[[0, 0, 3, 1], [0, 3, 3, 1]].tolist() == [4, 4, 4, 9]


def test_tiles_beyond_the_map_are_numbered_and_empty() -> None:
    x, weight, bias, _ = (t.detach() for t in problem((2, 3, 10, 12), 4, 3, (4, 4)))
    index = torch.tensor([21, 3, 4, 0, 15], dtype=torch.int32)  # 4 x 5 tiles an item, of which 3 x 3 lie in the map
    found = block_conv(x, weight, bias, index, 4, grid=(4, 5))
    expected = literal_block_conv(x, weight, bias, index, (4, 4), grid=(4, 5), packed=True)
    assert found.flatten(1).any(1).tolist() == [True, False, False, True, False]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    into_map = block_conv(x, weight, bias, index, 4, grid=(4, 5), packed=False)
    expected = literal_block_conv(x, weight, bias, index, (4, 4), grid=(4, 5), packed=False)
    torch.testing.assert_close(into_map, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("shape", "tile"), [((2, 5, 20, 24), (8, 8)), ((1, 16, 8, 9, 10), (4, 4, 4))], ids=str)
def test_memory_layout_does_not_change_a_bit(shape, tile, dtype: torch.dtype) -> None:
    x, weight, bias, index = (
        t.detach().to(t.dtype if t.dtype == torch.int32 else dtype) for t in problem(shape, 6, 3, tile)
    )
    expected = block_conv(x, weight, bias, index, tile)
    assert expected.is_contiguous()
    doubled = torch.cat([x, x], dim=1)
    others = {
        "channels-last": x.contiguous(memory_format=LAST[x.ndim]),
        "sliced channels": doubled[:, : shape[1]],
        "sliced channels-last": doubled.contiguous(memory_format=LAST[x.ndim])[:, : shape[1]],
        "transposed": x.transpose(-1, -2).contiguous().transpose(-1, -2),
        "strided": x[..., None].expand(*shape, 2).contiguous()[..., 0],
    }
    for name, other in others.items():
        for packed in (True, False):
            found = block_conv(
                other, weight.transpose(-1, -2).contiguous().transpose(-1, -2), bias, index, tile, packed=packed
            )
            wanted = expected if packed else block_conv(x, weight, bias, index, tile, packed=False)
            assert torch.equal(found, wanted), name
            last = "last" in name
            assert found.is_contiguous(memory_format=LAST[x.ndim] if last else torch.contiguous_format), name


def test_items_of_a_batch_do_not_touch_each_other() -> None:
    x, weight, bias, _ = (t.detach() for t in problem((3, 2, 16, 16), 4, 3, (8, 8)))
    index = torch.tensor([1, 6, 9, 10], dtype=torch.int32)
    together = block_conv(x, weight, bias, index, 8, packed=False)
    for b in range(3):
        own = index[(index >= 4 * b) & (index < 4 * b + 4)] - 4 * b
        assert torch.equal(block_conv(x[b : b + 1], weight, bias, own, 8, packed=False), together[b : b + 1])


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("numbers", [[], [-1, -1]], ids=str)
def test_an_empty_list_gives_zeros(numbers: list[int], packed: bool) -> None:
    index = torch.tensor(numbers, dtype=torch.int32)
    found = block_conv(torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3), torch.ones(4), index, 4, packed=packed)
    assert found.shape == ((len(numbers), 4, 4, 4) if packed else (2, 4, 8, 8))
    assert not found.any()


def test_an_empty_batch_gives_an_empty_map() -> None:
    index = torch.tensor([], dtype=torch.int32)
    found = block_conv(torch.ones(0, 3, 8, 8), torch.ones(4, 3, 3, 3), None, index, 4, packed=False)
    assert found.shape == (0, 4, 8, 8)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_large_map_is_zero_outside_the_active_tiles_whatever_the_memory_held_before(layout) -> None:
    x = torch.ones(1, 8, 509, 509).contiguous(memory_format=layout)
    weight, index = torch.ones(9, 8, 1, 1), torch.tensor([0, 500, 1023], dtype=torch.int32)
    for _ in range(3):
        used = torch.full((1, 9, 509, 509), float("nan"))  # about the memory that the next map is given
        del used
        found = block_conv(x, weight, None, index, 16, packed=False)
        assert found.sum().item() == 8 * 9 * (2 * 16 * 16 + 13 * 13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    x, weight, bias, index = problem((2, 17, 20, 24), 5, 3, (8, 8), dtype=torch.float32)
    x, weight, bias = (t.detach().to(dtype) for t in (x, weight, bias))
    for layout in (torch.contiguous_format, torch.channels_last):
        found = block_conv(x.contiguous(memory_format=layout), weight, bias, index, 8)
        wide = block_conv(x.float(), weight.float(), bias.float(), index, 8)
        assert found.dtype == dtype
        assert torch.equal(found, wide.to(dtype))


def test_autocast_follows_the_dtype_of_the_user() -> None:
    x, weight, bias, index = (t.detach() for t in problem((1, 3, 16, 16), 4, 3, (8, 8), dtype=torch.float32))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            found = block_conv(x, weight, bias, index, 8)
            exact = block_conv(x.double(), weight.double(), bias.double(), index, 8)
        assert (found.dtype, exact.dtype) == (dtype, torch.float64)
        assert torch.equal(found, block_conv(x.to(dtype), weight.to(dtype), bias.to(dtype), index, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_thread_count_does_not_change_a_bit(compiled: None, dtype: torch.dtype) -> None:
    threads = torch.get_num_threads()
    x, weight, bias, index = problem((2, 7, 64, 72), 9, 3, (8, 8))
    x, weight, bias = (t.detach().to(dtype) for t in (x, weight, bias))
    try:
        results = []
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            results.append(block_conv(x, weight, bias, index, 8, packed=False))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


X, WEIGHT, INDEX = (1, 3, 8, 8), (4, 3, 3, 3), [0]
REFUSED = [
    ({"x": (8, 8)}, "x has shape [8, 8]; expected [B, C, H, W] or [B, C, D, H, W]"),
    ({"x": (1, 3, 0, 8)}, "x has shape [1, 3, 0, 8]; expected at least one channel and one voxel"),
    ({"weight": (4, 5, 3, 3)}, "weight has shape [4, 5, 3, 3]; expected [Co, 3, k, k] with k = 1, 3 or 5"),
    ({"weight": (4, 3, 3, 5)}, "weight has shape [4, 3, 3, 5]; expected [Co, 3, k, k] with k = 1, 3 or 5"),
    ({"weight": (4, 3, 7, 7)}, "weight has shape [4, 3, 7, 7]; expected [Co, 3, k, k] with k = 1, 3 or 5"),
    ({"weight": (4, 3, 3)}, "weight has shape [4, 3, 3]; expected [Co, 3, k, k] with k = 1, 3 or 5"),
    ({"bias": (5,)}, "bias has shape [5]; expected [4]"),
    ({"index": [[0]]}, "index has shape [1, 1]; expected [A]"),
    ({"tile": (4,)}, "tile is (4,); expected 2 sides of at least 1"),
    ({"grid": (1, 1)}, "grid is [1, 1] tiles of [4, 4]; expected at least [2, 2] to cover [8, 8]"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_shapes_that_do_not_fit_are_named(changes: dict, message: str) -> None:
    sizes = {"x": X, "weight": WEIGHT, "bias": (4,), "tile": 4, "index": INDEX} | changes
    tensors = [torch.ones(sizes[name]) for name in ("x", "weight", "bias")]
    with pytest.raises(ValueError) as caught:
        block_conv(*tensors, torch.tensor(sizes["index"], dtype=torch.int32), sizes["tile"], grid=sizes.get("grid"))
    assert str(caught.value) == f"block_conv: {message}"


def test_dtypes_that_do_not_fit_are_named() -> None:
    x, weight, index = torch.ones(X), torch.ones(WEIGHT), torch.tensor(INDEX, dtype=torch.int32)
    for arguments, message in (
        ((x.int(), weight, None, index), "x is torch.int32; expected float16, bfloat16, float32 or float64"),
        ((x, weight.double(), None, index), "weight is torch.float64; expected torch.float32, the dtype of x"),
        ((x, weight, torch.ones(4).half(), index), "bias is torch.float16; expected torch.float32, the dtype of x"),
        ((x, weight, None, index.long()), "index is torch.int64; expected torch.int32"),
    ):
        with pytest.raises(TypeError) as caught:
            block_conv(*arguments, 4)
        assert str(caught.value) == f"block_conv: {message}"


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0, 4], "index holds tile 4; expected -1 or 0..3 (batch x grid)"),
        ([-2], "index holds tile -2; expected -1 or 0..3 (batch x grid)"),
        ([1, 2, 1], "index holds tile 1 twice; expected every tile once"),
    ],
    ids=str,
)
def test_numbers_that_are_no_tile_are_named(compiled: None, numbers: list[int], message: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        block_conv(torch.ones(X), torch.ones(WEIGHT), None, torch.tensor(numbers, dtype=torch.int32), 4)
    assert str(caught.value).splitlines()[0] == f"block_conv: {message}"


def test_a_direct_call_of_the_op_cannot_read_out_of_bounds(compiled: None) -> None:
    call, index = torch.ops.medseg.block_conv, torch.tensor(INDEX, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="weight must be"):
        call(torch.ones(X), torch.ones(4, 5, 3, 3), None, index, [4, 4])
    with pytest.raises(RuntimeError, match=r"grid \* tile must cover x"):
        call(torch.ones(X), torch.ones(WEIGHT), None, index, [4, 4], False, True, [1, 1])
    with pytest.raises(RuntimeError, match="bias must be"):
        call(torch.ones(X), torch.ones(WEIGHT), torch.ones(3), index, [4, 4])


ISA_CODE = """
import torch
from medseg.ops import block_conv, last_backend
g = torch.Generator().manual_seed(3)
cases = ((1, 17, (24, 40), 3), (5, 1, (24, 40), 5), (24, 5, (9, 8, 17), 3), (32, 40, (36, 20), 3), (33, 64, (20, 9), 1))
for inputs, outputs, sizes, k in cases:
    x = torch.randn(2, inputs, *sizes, generator=g).requires_grad_()
    w = torch.randn(outputs, inputs, *[k] * len(sizes), generator=g).requires_grad_()
    b = torch.randn(outputs, generator=g).requires_grad_()
    index = torch.tensor([0, 3, 5, 2], dtype=torch.int32)
    last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    for layout in (torch.contiguous_format, last):
        for tile in (8, 5):
            leaves = [x.detach().contiguous(memory_format=layout).requires_grad_(), w, b]
            wide = [t.detach().double().requires_grad_() for t in leaves]
            out, exact = block_conv(*leaves, index, tile), None
            assert last_backend("block_conv") == "cpu:{isa}"
            exact = block_conv(*wide, index, tile)
            assert last_backend("block_conv") == "cpu:generic64"
            grad = torch.randn(out.shape, generator=g)
            found = (out, *torch.autograd.grad(out, leaves, grad))
            assert last_backend("block_conv_backward") == "cpu:{isa}"
            wanted = (exact, *torch.autograd.grad(exact, wide, grad.double()))
            for u, v in zip(found, wanted):
                assert (u - v).abs().max() < 1e-5 * v.abs().max().clamp(min=1), (inputs, outputs, sizes, tile)
print("done")
"""


@pytest.mark.parametrize("isa", ["avx512", "avx2", "generic"])
def test_every_instruction_set_agrees_with_the_float64_kernel(compiled: None, isa: str) -> None:
    done = run_python(ISA_CODE.format(isa=isa), MEDSEG_ISA=isa)
    if "does not support it" in done.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert done.stdout == "done\n", done.stderr[-2000:]
