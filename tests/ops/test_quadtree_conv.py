"""quadtree_conv: exact against masked dense convolutions, and its invariants."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from medseg.ops import last_backend, quadtree_conv
from tests.ops._quadtree_problems import masked_dense, pad_lists, pixel_mask, problem
from tests.ops.conftest import run_python

MODES, ACTIVATIONS, NORMS = ("replace", "sum", "parallel"), (None, "relu", "leaky_relu"), (None, "batch", "instance")
FLAT, DEEP = ((2, 5, 13, 10), (4, 4)), ((2, 3, 6, 5, 9), (2, 2, 4))
LAYOUTS = ("contiguous", "channels_last", "turned", "sliced")


def lay_out(x: torch.Tensor, layout: str) -> torch.Tensor:
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
    if layout == "turned":
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    return torch.cat([x, x], dim=1)[:, : x.shape[1]] if layout == "sliced" else x.contiguous()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "grid"), [FLAT, DEEP], ids=str)
def test_equals_masked_dense_convolution(shape, grid, mode, activation, norm) -> None:
    p = problem(shape, grid, (0.7, 0.4, 0.2), affine=norm is not None)
    settings = {"mode": mode, "activation": activation, "norm": norm, "slope": 0.1}
    torch.testing.assert_close(p.run(**settings)[0], masked_dense(p, **settings), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("kernel", "channels"), list(itertools.product((1, 3, 5), (1, 3, 5, 17, 24))))
def test_every_kernel_size_and_channel_count(kernel: int, channels: int) -> None:
    p = problem((1, channels, 11, 12), (3, 2), (0.8, 0.5), kernel=kernel)
    torch.testing.assert_close(p.run()[0], masked_dense(p), rtol=0, atol=1e-11)


@pytest.mark.parametrize("isa", ["", "avx512", "avx2", "generic"])
def test_every_instruction_set_agrees_with_float64(isa: str, compiled: None) -> None:
    if isa and f"{isa}".replace("512", "512f") not in _cpu_flags() and isa != "generic":
        pytest.skip(f"this processor has no {isa}")
    code = """
import torch
from medseg.ops import last_backend
from tests.ops._quadtree_problems import problem
for shape, grid in (((1, 17, 30, 21), (4, 2)), ((1, 24, 9, 9, 9), (2, 2, 2)), ((1, 3, 16, 16), (2, 4))):
    p = problem(shape, grid, (0.8, 0.5), dtype=torch.float32)
    found, expected = p.run(mode="sum")[0], p.to(torch.float64).run(mode="sum")[0]
    assert (found - expected).abs().max() < 1e-5, (shape, (found - expected).abs().max())
    a = torch.autograd.grad(found.square().sum(), p.leaves())
print("done", p.run()[0].dtype, last_backend("quadtree_conv"))
"""
    done = run_python(code, MEDSEG_ISA=isa, MEDSEG_OPS="", OMP_NUM_THREADS="1")
    assert done.stdout.startswith("done"), done.stderr[-500:]
    assert done.stdout.split()[-1] == f"cpu:{isa}" or not isa


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return ""


@pytest.mark.parametrize("tile", [1, 2, 3, 8])
def test_tiles_smaller_than_the_halo_are_right(tile: int) -> None:
    p = problem((1, 2, 8, 8), (8 // tile, 8 // tile), (0.6, 0.4), kernel=5)
    torch.testing.assert_close(p.run(mode="sum")[0], masked_dense(p, mode="sum"), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("shape", "grid"), [FLAT, DEEP], ids=str)
def test_memory_layout_does_not_matter_and_is_kept(shape, grid, dtype) -> None:
    p = problem(shape, grid, (0.7, 0.3), dtype=dtype)
    expected = p.run(mode="sum")[0]
    for layout in LAYOUTS:
        x = lay_out(p.x.detach(), layout)
        found = p.with_x(x).run(mode="sum")[0]
        assert torch.equal(found, expected), layout
        last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        expected_format = last if layout == "channels_last" else torch.contiguous_format
        assert found.is_contiguous(memory_format=expected_format), layout


def test_all_tiles_active_is_the_dense_stack() -> None:
    p = problem((2, 4, 16, 16), (4, 4), (1.0, 1.0, 1.0))
    expected = p.x
    for weight, bias in zip(p.weight, p.bias, strict=True):
        expected = functional.relu(functional.conv2d(expected, weight, bias, padding=1))
    torch.testing.assert_close(p.run()[0], expected, rtol=0, atol=1e-12)


def test_no_tile_active_is_the_identity() -> None:
    p = problem((2, 4, 9, 9), (2, 2), (0.0, 0.0), affine=True)
    out, stats = p.run(norm="batch")
    assert torch.equal(out, p.x)
    assert torch.equal(stats[:, :, 0], torch.zeros(2, 1, 4, dtype=torch.float64))
    assert torch.equal(stats[:, :, 1], torch.ones(2, 1, 4, dtype=torch.float64))


def test_a_round_without_tiles_changes_nothing() -> None:
    p = problem((1, 3, 12, 12), (3, 3), (0.6, 0.0))
    first = p._replace(weight=p.weight[:1], bias=p.bias[:1], gate=p.gate[:1], index=p.index[:1], count=p.count[:1])
    first = first._replace(explore=p.explore[:1])
    assert torch.equal(p.run()[0], first.run()[0])


def test_inactive_positions_are_the_input_bit_by_bit() -> None:
    p = problem((2, 5, 13, 10), (4, 4), (0.5, 0.2), dtype=torch.float32)
    out, _ = p.run()
    outside = ~pixel_mask(p.index[0], p.x.shape, p.grid).expand_as(out)
    assert torch.equal(out[outside], p.x[outside])
    assert not torch.equal(out[~outside], p.x[~outside])


def test_samples_do_not_know_each_other() -> None:
    p = problem((3, 4, 12, 12), (3, 3), (0.6, 0.3))
    whole = p.run()[0]
    for b in range(3):
        rows = [[t - 9 * b for t in row.tolist() if 9 * b <= t < 9 * b + 9] for row in p.index]
        index, count = pad_lists(rows)
        alone, _ = quadtree_conv(p.x[b : b + 1], p.weight, p.bias, index=index, count=count, grid=p.grid)
        assert torch.equal(alone[0], whole[b])


def test_lists_that_do_not_nest_are_right_as_well() -> None:
    p = problem((1, 3, 12, 12), (3, 3), (0.3, 0.3, 0.3))
    index, count = pad_lists([[0, 1, 4], [4, 8], [0, 3, 8]])
    p = p._replace(index=index, count=count, explore=p.explore[:, :0])
    for mode in MODES:
        torch.testing.assert_close(p.run(mode=mode)[0], masked_dense(p, mode=mode), rtol=0, atol=1e-12)


def test_a_grid_that_reaches_beyond_the_map() -> None:
    """17 pixels on 8 tiles: sides of 3, the last two tiles of the row lie outside."""
    p = problem((2, 3, 17, 17), (8, 8), (0.5, 0.25), affine=True)
    assert p.index.max() >= 2 * 36
    for norm in NORMS:
        q = p if norm else p._replace(scale=None, shift=None)
        torch.testing.assert_close(q.run(norm=norm)[0], masked_dense(q, norm=norm), rtol=0, atol=1e-10)


def test_rows_may_be_reserved_beyond_the_count() -> None:
    p = problem((1, 4, 16, 16), (4, 4), (0.5, 0.2), dtype=torch.float32)
    assert torch.equal(p.run(rows=[16, 11])[0], p.run()[0])


def test_statistics_are_those_of_the_active_positions() -> None:
    p = problem((2, 4, 13, 10), (4, 4), (0.5, 0.3))
    convolved = functional.conv2d(p.x, p.weight[0], p.bias[0], padding=1)
    mask = pixel_mask(p.index[0], p.x.shape, p.grid)
    values = convolved.movedim(1, -1)[mask[:, 0]]
    stats = p.run(norm="batch", eps=1e-3)[1]
    assert stats.shape == (2, 1, 2, 4)
    torch.testing.assert_close(stats[0, 0, 0], values.mean(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(stats[0, 0, 1], (values.var(0, unbiased=False) + 1e-3).rsqrt(), rtol=0, atol=1e-12)
    per_sample = p.run(norm="instance")[1]
    assert per_sample.shape == (2, 2, 2, 4)
    torch.testing.assert_close(per_sample[0, 1, 0], convolved[1, :, mask[1, 0]].mean(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16_accumulates_in_float32(mode: str) -> None:
    p = problem((1, 24, 32, 32), (2, 2), (0.8, 0.5), dtype=torch.bfloat16)
    found = p.run(mode=mode)[0]
    expected = p.to(torch.float64).run(mode=mode)[0]
    assert found.dtype == torch.bfloat16
    assert (found.double() - expected).norm() / expected.norm() < 0.01


@pytest.mark.parametrize("norm", NORMS)
def test_bits_do_not_depend_on_the_number_of_threads(norm: str | None) -> None:
    p = problem((2, 17, 40, 36), (4, 4), (0.9, 0.5, 0.2), affine=norm is not None, dtype=torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            out, stats = p.run(mode="sum", norm=norm)
            results.append([out, stats, *torch.autograd.grad(out.square().sum(), p.leaves())])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_float64_runs_the_compiled_float64_kernel(compiled: None) -> None:
    p = problem((1, 2, 8, 8), (2, 2), (0.5,))
    p.run()[0].sum().backward()
    assert last_backend("quadtree_conv") == "cpu:generic64"
    assert last_backend("quadtree_conv_backward") == "cpu:generic64"


def test_autocast_lowers_the_map_and_leaves_the_parameters() -> None:
    p = problem((1, 8, 16, 16), (2, 2), (0.5,), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, _ = p.run()
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, p._replace(x=p.x.detach().bfloat16()).run()[0])
    assert [g.dtype for g in torch.autograd.grad(out.float().sum(), p.leaves())] == [torch.float32] * 4
