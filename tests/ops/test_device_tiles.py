"""The ops on tiles, on the device named by ``--device``, against the portable float64 CPU kernels."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from medseg.ops import compiled, last_backend
from medseg.ops.block_conv import block_conv
from medseg.ops.quadtree_conv import quadtree_conv

DTYPES = {torch.float32: 2e-4, torch.float64: 1e-10, torch.bfloat16: 2e-2}


class Map(NamedTuple):
    """Shape of a map, tiles per axis, output channels and side of the kernel."""

    shape: tuple[int, ...]
    grid: tuple[int, ...]
    out: int
    kernel: int


MAPS = [
    Map((2, 3, 20, 26), (5, 4), 5, 3),
    Map((1, 24, 32, 32), (2, 2), 33, 3),
    Map((2, 17, 15, 18), (3, 3), 24, 5),
    Map((1, 40, 16, 16), (4, 4), 70, 1),
    Map((1, 5, 12, 16, 10), (3, 4, 2), 8, 3),
]


def _random(*shape: int, seed: int = 0) -> Tensor:
    """Values that bfloat16 can hold, so that every dtype starts from the same ones."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator).bfloat16().double()


def _weight(*shape: int) -> Tensor:
    fan = math.prod(shape[-len(shape) + 2 :])
    return (_random(*shape, seed=1) / math.sqrt(fan)).bfloat16().double()


def _lists(tiles: int, *shares: float) -> Tensor:
    """Nested lists of tiles, one row a share, -1 padded."""
    order = torch.randperm(tiles, generator=torch.Generator().manual_seed(2)).int()
    rows = torch.full((len(shares), tiles), -1, dtype=torch.int32)
    for row, share in zip(rows, shares, strict=True):
        n = round(share * tiles)
        row[:n] = order[:n].sort().values
    return rows


def _assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Within the tolerance times the largest value; 16-bit results by the root mean square."""
    difference = found.cpu().double() - expected
    if found.dtype == torch.bfloat16:
        assert difference.norm() <= tolerance * expected.norm().clamp(min=1)
    else:
        assert difference.abs().max() <= tolerance * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("zero_halo", "packed"), [(False, True), (False, False), (True, True)])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("case", MAPS, ids=str)
def test_block_conv_equals_the_float64_cpu_kernel(device, case, channels_last, zero_halo, packed, dtype) -> None:
    shape, d = case.shape, len(case.grid)
    layout = (torch.channels_last if d == 2 else torch.channels_last_3d) if channels_last else torch.contiguous_format
    tile = [-(-s // g) for s, g in zip(shape[2:], case.grid, strict=True)]
    index = _lists(shape[0] * math.prod(case.grid), 0.5)[0]
    tensors = [_random(*shape), _weight(case.out, shape[1], *[case.kernel] * d), _random(case.out)]

    def run(kind: torch.dtype, where: str) -> tuple[Tensor, ...]:
        leaves = [t.to(where, kind) for t in tensors]
        leaves[0] = leaves[0].contiguous(memory_format=layout)
        leaves = [t.requires_grad_() for t in leaves]
        out = block_conv(*leaves, index.to(where), tile, zero_halo=zero_halo, packed=packed, grid=case.grid)
        factor = _random(*out.shape, seed=3).to(where, kind)
        return out.detach(), *torch.autograd.grad((out * factor).sum(), leaves)

    for found, expected in zip(run(dtype, device), run(torch.float64, "cpu"), strict=True):
        _assert_close(found, expected, DTYPES[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("mode", ["replace", "sum", "parallel"])
@pytest.mark.parametrize("norm", [None, "batch", "instance"])
@pytest.mark.parametrize("case", [MAPS[0], MAPS[2], MAPS[4]], ids=str)
def test_quadtree_conv_equals_the_float64_cpu_kernel(device, case, norm, mode, dtype) -> None:
    shape, tiles, rounds = case.shape, case.shape[0] * math.prod(case.grid), 3
    channels = shape[1]
    index = _lists(tiles, 0.8, 0.5, 0.2)
    tensors = [_random(*shape), _weight(rounds, channels, channels, *[case.kernel] * len(case.grid))]
    tensors += [_random(rounds, channels, seed=s) for s in (4, 5, 6)] + [_random(rounds, tiles)]
    chosen = [0, 1, 2, 5] if norm is None else range(6)

    def run(kind: torch.dtype, where: str) -> tuple[Tensor, ...]:
        leaves = [t.to(where, kind).requires_grad_() for t in tensors]
        scale, shift = (None, None) if norm is None else leaves[3:5]
        rejected = next(int(t) for t in index[1] if t not in index[2])
        explore = torch.tensor([[-1], [-1], [rejected]], dtype=torch.int32)
        lists = {"index": index, "count": (index >= 0).sum(1).int(), "explore": explore}
        lists = {name: t.to(where) for name, t in lists.items()}
        settings = {"mode": mode, "norm": norm, "activation": "leaky_relu", "slope": 0.1}
        out, _ = quadtree_conv(*leaves[:3], scale, shift, leaves[5], **lists, grid=case.grid, **settings)
        factor = _random(*out.shape, seed=3).to(where, kind)
        wanted = [leaves[i] for i in chosen]
        return out.detach(), *torch.autograd.grad((out * factor).sum(), wanted)

    for found, expected in zip(run(dtype, device), run(torch.float64, "cpu"), strict=True):
        _assert_close(found, expected, DTYPES[dtype])


def test_results_of_the_tile_ops_are_bit_equal_from_run_to_run(device) -> None:
    x = _random(2, 17, 32, 32).to(device, torch.float32).requires_grad_()
    weight = _weight(17, 17, 3, 3).to(device, torch.float32).requires_grad_()
    index = _lists(32, 0.7)[0].to(device)
    results = []
    for _ in range(2):
        out = block_conv(x, weight, None, index, 8)
        results.append([out, *torch.autograd.grad(out.square().sum(), [x, weight])])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_compiled_tile_kernels_of_the_device_ran(device) -> None:
    x = _random(1, 4, 16, 16).to(device, torch.float32)
    block_conv(x, _weight(4, 4, 3, 3).to(x), None, _lists(4, 0.5)[0].to(device), 8)
    lists = _lists(4, 0.5).to(device)
    quadtree_conv(x, _weight(1, 4, 4, 3, 3).to(x), index=lists, count=(lists >= 0).sum(1).int(), grid=(2, 2))
    expected = device.split(":")[0] if compiled() else "reference"
    assert last_backend("block_conv").startswith(expected)
    assert last_backend("quadtree_conv").startswith(expected)
