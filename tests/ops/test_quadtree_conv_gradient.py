"""Gradients of quadtree_conv: exact against autograd of masked dense convolutions, in float64 on compiled code."""

from __future__ import annotations

import pytest
import torch

from medseg.ops import quadtree_conv
from medseg.ops._quadtree_conv_reference import masked_quadtree_conv
from medseg.ops.quadtree_conv import ACTIVATIONS, MODES, NORMS
from tests.ops._quadtree_problems import gradients, masked_dense, pad_lists, pixel_mask, problem, sides

FLAT, DEEP = ((2, 5, 13, 10), (4, 4)), ((2, 3, 6, 5, 9), (2, 2, 4))
NAMES = ("x", "weight", "bias", "scale", "shift", "gate")


def assert_gradients_agree(p, tolerance: float = 1e-9, **settings: object) -> None:
    names = [name for name, t in zip(NAMES, p, strict=False) if t is not None]
    found = gradients(p.run(**settings)[0], p.leaves())
    expected = gradients(masked_dense(p, **settings), p.leaves())
    for name, a, b in zip(names, found, expected, strict=True):
        torch.testing.assert_close(
            a, b, rtol=0, atol=tolerance * (1 + float(b.abs().max())), msg=lambda m, n=name: n + m
        )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "grid"), [FLAT, DEEP], ids=str)
def test_all_gradients_are_those_of_the_masked_dense_form(shape, grid, mode, activation, norm) -> None:
    p = problem(shape, grid, (0.7, 0.4, 0.2), affine=norm is not None)
    assert_gradients_agree(p, mode=mode, activation=activation, norm=norm, slope=0.1)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("channels", [1, 3, 5, 17, 24])
def test_every_kernel_size_and_channel_count(kernel: int, channels: int) -> None:
    p = problem((1, channels, 11, 12), (3, 2), (0.8, 0.5), kernel=kernel)
    assert_gradients_agree(p, mode="sum")


@pytest.mark.parametrize("tile", [1, 2, 3, 8])
def test_tiles_smaller_than_the_halo_are_right(tile: int) -> None:
    p = problem((1, 2, 8, 8), (8 // tile, 8 // tile), (0.6, 0.4), kernel=5)
    assert_gradients_agree(p, mode="sum")


def test_a_grid_that_reaches_beyond_the_map() -> None:
    p = problem((2, 3, 17, 17), (8, 8), (0.5, 0.25), affine=True)
    assert_gradients_agree(p, norm="batch")


@pytest.mark.parametrize("mode", MODES)
def test_lists_that_do_not_nest_are_right_as_well(mode: str) -> None:
    p = problem((1, 3, 12, 12), (3, 3), (0.3, 0.3, 0.3))
    index, count = pad_lists([[0, 1, 4], [4, 8], [0, 3, 8]])
    assert_gradients_agree(p._replace(index=index, count=count, explore=p.explore[:, :0]), mode=mode)


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("mode", MODES)
def test_gradcheck(mode: str, norm: str | None) -> None:
    p = problem((1, 2, 6, 5), (2, 2), (0.75, 0.5), affine=norm is not None, explore=0)

    def run(*leaves: torch.Tensor) -> torch.Tensor:
        filled = iter(leaves)
        parts = [None if t is None else next(filled) for t in p[:5]]
        return quadtree_conv(*parts, **p.lists(), mode=mode, activation=None, norm=norm)[0]

    assert torch.autograd.gradcheck(run, [t for t in p[:5] if t is not None], eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("mode", MODES)
def test_exploring_every_rejected_tile_gives_the_dense_straight_through_gradient(mode: str, norm: str | None) -> None:
    """Dense: the gate of every tile multiplies its change, whatever the lists say."""
    p = problem((2, 3, 12, 12), (3, 3), (0.5, 0.2), affine=norm is not None, explore=None)
    everywhere = p._replace(explore=torch.arange(18, dtype=torch.int32).expand(2, 18))
    (found,) = gradients(p.run(mode=mode, norm=norm)[0], [p.gate])
    (dense,) = gradients(masked_dense(everywhere, mode=mode, norm=norm), [p.gate])
    torch.testing.assert_close(found, dense, rtol=0, atol=1e-9)
    assert (found != 0).all()


def test_five_percent_explored_gives_those_tiles_and_the_active_ones_a_gate_gradient_and_no_other() -> None:
    p = problem((1, 3, 80, 80), (20, 20), (0.4, 0.2), explore=20)
    (found,) = gradients(p.run()[0], [p.gate])
    q = problem((1, 3, 80, 80), (20, 20), (0.4, 0.2), explore=None)
    (all_explored,) = gradients(q.run()[0], [q.gate])
    for r in range(2):
        listed = torch.cat([p.index[r], p.explore[r]])
        listed = listed[listed >= 0].long()
        others = torch.ones(400, dtype=torch.bool)
        others[listed] = False
        assert torch.equal(found[r, listed], all_explored[r, listed])
        assert (found[r, others] == 0).all()
        assert (found[r, listed] != 0).all()


def test_exploring_changes_no_other_gradient() -> None:
    p = problem((1, 3, 16, 16), (4, 4), (0.5, 0.2), explore=None)
    with_explored, without = (gradients(q.run()[0], q.leaves()[:3]) for q in (p, p._replace(explore=p.explore[:, :0])))
    assert all(torch.equal(a, b) for a, b in zip(with_explored, without, strict=True))


def test_an_explored_tile_that_is_active_counts_once() -> None:
    p = problem((1, 3, 16, 16), (4, 4), (0.5, 0.2))
    (expected,) = gradients(p.run()[0], [p.gate])
    (found,) = gradients(p._replace(explore=torch.cat([p.explore, p.index], dim=1)).run()[0], [p.gate])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_gradient_of_inactive_positions_away_from_active_tiles_is_the_incoming_one() -> None:
    p = problem((1, 3, 32, 32), (4, 4), (0.2, 0.1), dtype=torch.float32)
    p.run()[0].sum().backward()
    near = torch.nn.functional.max_pool2d(pixel_mask(p.index[0], p.x.shape, p.grid).float(), 3, 1, 1)
    far = (near == 0).expand_as(p.x)
    assert far.any()
    assert torch.equal(p.x.grad[far], torch.ones_like(p.x.grad[far]))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("mode", MODES)
def test_only_the_gradients_that_are_wanted_are_computed(mode: str, norm: str | None) -> None:
    p = problem((1, 3, 12, 12), (3, 3), (0.6, 0.3), affine=norm is not None)
    everything = gradients(p.run(mode=mode, norm=norm)[0], p.leaves())
    for wanted in range(len(p.leaves())):
        kept = iter(range(10))
        alone = [None if t is None else t.detach().requires_grad_(next(kept) == wanted) for t in p[:6]]
        out, _ = quadtree_conv(*alone, **p.lists(), mode=mode, norm=norm)
        leaf = next(t for t in alone if t is not None and t.requires_grad)
        assert torch.equal(gradients(out, [leaf])[0], everything[wanted])


def test_parameters_without_bias_and_affine_part_have_no_gradient() -> None:
    p = problem((1, 3, 12, 12), (3, 3), (0.6, 0.3))
    out, _ = quadtree_conv(p.x, p.weight, **p.lists(), norm="instance")
    expected, _ = quadtree_conv(p.x, p.weight, torch.zeros_like(p.bias), **p.lists(), norm="instance")
    found, wanted = gradients(out, [p.x, p.weight]), gradients(expected, [p.x, p.weight])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_come_in_the_layout_of_the_map_whatever_that_of_the_incoming_one(layout: torch.memory_format) -> None:
    p = problem((2, 5, 12, 12), (3, 3), (0.6, 0.3), dtype=torch.float32)
    p = p.with_x(p.x.detach().contiguous(memory_format=layout))
    expected = torch.autograd.grad(p.run()[0], p.x, torch.ones(2, 5, 12, 12))[0]
    assert expected.is_contiguous(memory_format=layout)
    for grad in (torch.ones(1).expand(2, 5, 12, 12), torch.ones(2, 5, 12, 12).to(memory_format=torch.channels_last)):
        assert torch.equal(torch.autograd.grad(p.run()[0], p.x, grad)[0], expected)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_bfloat16_gradients_are_summed_in_float32(norm: str | None) -> None:
    p = problem((1, 24, 32, 32), (2, 2), (0.8, 0.5), affine=norm is not None, dtype=torch.bfloat16)
    found = gradients(p.run(mode="sum", norm=norm)[0], p.leaves())
    exact = p.to(torch.float64)
    expected = gradients(exact.run(mode="sum", norm=norm)[0], exact.leaves())
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.double() - b).norm() <= 0.03 * b.norm() + 0.02 * (norm is not None) * b.numel() ** 0.5


def test_what_is_kept_for_the_gradient_holds_the_active_tiles_only() -> None:
    p = problem((1, 16, 64, 64), (8, 8), (0.5, 0.25, 0.125), dtype=torch.float32)
    tile = sides(p.x.shape, p.grid)
    for mode, most in (("replace", 1.0), ("sum", 1.04), ("parallel", 1.04)):
        arguments = (None, p.index, p.count, p.explore, tile, p.count.tolist(), MODES[mode], 1, 0.0, 0, 1e-5)
        _, store, pre, _ = torch.ops.medseg.quadtree_conv(p.x, p.weight, p.bias, None, None, *arguments)
        active = int(p.count.sum()) * 16 * 64 * 4
        assert store.nbytes == active
        assert store.nbytes + pre.nbytes <= most * active


def test_second_derivatives_are_refused() -> None:
    p = problem((1, 2, 8, 8), (2, 2), (0.5,))
    (dx,) = torch.autograd.grad(p.run()[0].square().sum(), p.x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives are not implemented"):
        dx.sum().backward()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("mode", MODES)
def test_the_references_own_form_is_the_masked_dense_one(mode: str, norm: str | None) -> None:
    p = problem((2, 3, 13, 10), (4, 4), (0.7, 0.4), affine=norm is not None)
    settings = (MODES[mode], ACTIVATIONS["relu"], 0.0, NORMS[norm], 1e-5)
    out, _ = masked_quadtree_conv(*p[:6], p.index, p.explore, sides(p.x.shape, p.grid), *settings)
    expected = masked_dense(p, mode=mode, norm=norm)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    for a, b in zip(gradients(out, p.leaves()), gradients(expected, p.leaves()), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9 * (1 + float(b.abs().max())))
