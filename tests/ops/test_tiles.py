"""gather_tiles and scatter_tiles: which voxels belong to which number, and back."""

from __future__ import annotations

import pytest
import torch

from medseg.ops import gather_tiles, scatter_tiles
from tests.ops._blocks import least_grid, tile_slices

CASES = [((2, 3, 8, 12), (4, 4), None), ((1, 2, 7, 9), (3, 4), (3, 5)), ((2, 1, 5, 6, 7), (2, 3, 4), None)]


@pytest.mark.parametrize(("shape", "tile", "grid"), CASES, ids=str)
def test_a_row_holds_the_tile_of_its_number(shape, tile, grid) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    counts = grid or least_grid(shape[2:], tile)
    tiles = shape[0] * int(torch.tensor(counts).prod())
    index = torch.randperm(tiles, generator=torch.Generator().manual_seed(1)).int()
    rows = gather_tiles(x, index, tile, grid)
    for row, number in zip(rows, index.tolist(), strict=True):
        batch, cut = tile_slices(number, tile, counts)
        expected = x[(batch, slice(None), *cut)]
        inside = row[(slice(None), *(slice(0, s) for s in expected.shape[1:]))]
        assert torch.equal(inside, expected)
        assert row.count_nonzero() == expected.count_nonzero()


@pytest.mark.parametrize(("shape", "tile", "grid"), CASES, ids=str)
def test_scattering_what_was_gathered_restores_those_tiles_only(shape, tile, grid) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([3, -1, 0], dtype=torch.int32)
    rows = gather_tiles(x, index, tile, grid)
    assert not rows[1].any()
    base = torch.full_like(x, 7.0)
    onto_base, onto_zeros = scatter_tiles(rows, index, base, grid), scatter_tiles(rows, index, shape, grid)
    active = scatter_tiles(torch.ones_like(rows), index, shape, grid).bool()
    assert 0 < active.sum() < active.numel()
    assert torch.equal(onto_base, torch.where(active, x, base))
    assert torch.equal(onto_zeros, torch.where(active, x, torch.zeros_like(x)))


def test_both_are_differentiable() -> None:
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([4, -1, 9], dtype=torch.int32)
    assert torch.autograd.gradcheck(lambda t: gather_tiles(t, index, 2), (x,))
    rows = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t, b: scatter_tiles(t, index, b), (rows, x))


def test_one_number_stands_for_every_side() -> None:
    x = torch.randn(1, 2, 4, 4, 4)
    index = torch.arange(8, dtype=torch.int32)
    assert torch.equal(gather_tiles(x, index, 2), gather_tiles(x, index, (2, 2, 2)))


@pytest.mark.parametrize(
    ("index", "options", "message"),
    [
        ([4], {}, "gather_tiles: index holds tile 4; expected -1 or 0..3 (batch x grid)"),
        ([-2, 1], {}, "gather_tiles: index holds tile -2; expected -1 or 0..3 (batch x grid)"),
        ([1, 0, 1], {}, "gather_tiles: index holds tile 1 twice; expected every tile once"),
        ([[1]], {}, "gather_tiles: index has shape [1, 1]; expected [A]"),
        ([1], {"tile": (2, 2, 2)}, "gather_tiles: tile is (2, 2, 2); expected 2 sides of at least 1"),
        ([1], {"tile": 0}, "gather_tiles: tile is 0; expected 2 sides of at least 1"),
        (
            [1],
            {"grid": (1, 2)},
            "gather_tiles: grid is [1, 2] tiles of [2, 2]; expected at least [2, 2] to cover [4, 4]",
        ),
    ],
    ids=str,
)
def test_lists_and_rasters_that_do_not_fit_are_named(index, options, message) -> None:
    with pytest.raises(ValueError) as caught:
        gather_tiles(torch.ones(1, 1, 4, 4), torch.tensor(index, dtype=torch.int32), **({"tile": 2} | options))
    assert str(caught.value) == message


def test_other_mistakes_are_named() -> None:
    with pytest.raises(TypeError, match=r"^gather_tiles: index is torch.int64; expected torch.int32$"):
        gather_tiles(torch.ones(1, 1, 4, 4), torch.tensor([1]), 2)
    with pytest.raises(
        ValueError, match=r"^scatter_tiles: \[1, 2, 2, 2\] tiles and \[1\] numbers for a map \[1, 1, 4, 4\]"
    ):
        scatter_tiles(torch.ones(1, 2, 2, 2), torch.zeros(1, dtype=torch.int32), (1, 1, 4, 4))
