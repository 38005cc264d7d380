"""geodesic_distance: the shortest way to a seed through an image."""

from __future__ import annotations

import heapq
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from medseg.ops import geodesic_distance, last_backend
from medseg.ops.geodesic_distance import COSTS, reference_geodesic_distance
from tests.ops.conftest import run_python

SHAPES = [(1, 1, 9, 13), (2, 3, 17, 6), (1, 2, 5, 7, 11), (1, 1, 4, 20, 19)]


def problem(shape: tuple[int, ...], sets: int = 2, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(math.prod(shape))
    image = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    seeds = torch.rand((shape[0], sets, *shape[2:]), generator=generator) > 0.98
    seeds.flatten(2)[:, :, 5] = True
    return image, seeds


def dijkstra(image: np.ndarray, seeds: np.ndarray, weight: float, spacing: tuple[float, ...], cost: str) -> np.ndarray:
    """Distances ``[*S]`` of one image ``[C, *S]`` with a heap, an edge at a time."""
    distance = np.where(seeds, 0.0, np.inf)
    heap = [(0.0, at) for at in zip(*np.nonzero(seeds), strict=True)]
    while heap:
        reached, at = heapq.heappop(heap)
        if reached > distance[at]:
            continue
        for offset in itertools.product((-1, 0, 1), repeat=seeds.ndim):
            to = tuple(a + o for a, o in zip(at, offset, strict=True))
            if not any(offset) or not all(0 <= t < n for t, n in zip(to, seeds.shape, strict=True)):
                continue
            length = math.sqrt(sum((o * s) ** 2 for o, s in zip(offset, spacing, strict=True)))
            gap = image[(slice(None), *to)] - image[(slice(None), *at)]
            if cost == "additive":
                step = (1 - weight) * length + weight * np.abs(gap).sum()
            else:
                step = length / ((1 - weight) + weight / (math.sqrt((gap**2).sum()) + 1e-5))
            if reached + step < distance[to]:
                distance[to] = reached + step
                heapq.heappush(heap, (distance[to], to))
    return distance


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_exact_map_is_that_of_dijkstra(shape: tuple[int, ...], weight: float, cost: str) -> None:
    image, seeds = problem(shape)
    spacing = (2.5, 0.7, 1.1)[-len(shape) + 2 :]
    found = geodesic_distance(image, seeds, weight, spacing, cost)
    for b, k in itertools.product(range(shape[0]), range(2)):
        expected = dijkstra(image[b].numpy(), seeds[b, k].numpy(), weight, spacing, cost)
        np.testing.assert_allclose(found[b, k].numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cost", [0, 1])
@pytest.mark.parametrize("sweeps", [0, 1, 3])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 5, 6, 40), (1, 24, 3, 4, 18)], ids=str)
def test_the_kernel_and_the_reference_agree(shape: tuple[int, ...], sweeps: int, cost: int, compiled: None) -> None:
    image, seeds = problem(shape)
    options = ([1.5, 0.6, 0.9][-len(shape) + 2 :], 0.7, cost, sweeps, 9.0)
    found = torch.ops.medseg.geodesic_distance(image, seeds, *options)
    assert last_backend("geodesic_distance") == "cpu:generic64"
    torch.testing.assert_close(found, reference_geodesic_distance(image, seeds, *options), rtol=1e-12, atol=1e-12)


def test_a_flat_image_gives_the_lengths_of_the_graph() -> None:
    seeds = torch.zeros(1, 1, 6, 9)
    seeds[0, 0, 2, 3] = 1
    dy, dx = (torch.arange(6.0) - 2).abs()[:, None], (torch.arange(9.0) - 3).abs()[None]
    expected = (dy - dx).abs() + math.sqrt(2) * torch.minimum(dy, dx)
    found = geodesic_distance(torch.full((1, 1, 6, 9), 7.0), seeds, weight=0.0)
    torch.testing.assert_close(found[0, 0], expected)


def test_weight_one_sums_the_intensity_steps_of_the_cheapest_way() -> None:
    image = torch.tensor([[0.0, 5.0, 1.0], [0.0, 9.0, 1.0], [0.0, 0.5, 1.0]])[None, None]
    seeds = torch.zeros(1, 1, 3, 3)
    seeds[..., 0, 0] = 1
    found = geodesic_distance(image, seeds)[0, 0]
    torch.testing.assert_close(found, torch.tensor([[0.0, 5.0, 1.0], [0.0, 9.0, 1.0], [0.0, 0.5, 1.0]]))


def test_agrees_with_the_minimum_cost_path_of_scikit_image() -> None:
    # The costs meet where both are the length of the way: flat costs there, weight 0 here.
    from skimage.graph import MCP_Geometric

    expected, _ = MCP_Geometric(np.ones((12, 15, 10)), sampling=(2.0, 1.0, 0.5)).find_costs([(3, 4, 5), (11, 0, 9)])
    seeds = torch.zeros(1, 1, 12, 15, 10)
    seeds[0, 0, 3, 4, 5] = seeds[0, 0, 11, 0, 9] = 1
    found = geodesic_distance(torch.zeros(1, 1, 12, 15, 10).double(), seeds, 0.0, (2.0, 1.0, 0.5))
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=1e-12)


def test_the_two_costs_are_not_interchangeable() -> None:
    image, seeds = problem((1, 1, 9, 13))
    additive, harmonic = (geodesic_distance(image, seeds, 0.5, cost=cost) for cost in COSTS)
    assert (additive - harmonic).abs().max() > 0.5


def test_more_sweeps_lower_the_map_towards_the_exact_one() -> None:
    image, seeds = problem((1, 1, 40, 40))
    maps = [geodesic_distance(image, seeds, 1.0, sweeps=n) for n in (1, 2, 4, 60)]
    assert all((a >= b).all() for a, b in itertools.pairwise(maps))
    assert (maps[0] > maps[-1]).any()
    assert torch.equal(maps[-1], geodesic_distance(image, seeds, 1.0))


@pytest.mark.parametrize("sweeps", [1, None])
@pytest.mark.parametrize("limit", [math.inf, 4.0])
def test_a_set_without_seeds_is_the_limit_everywhere(limit: float, sweeps: int | None) -> None:
    image, seeds = problem((1, 1, 9, 13))
    seeds[:, 1] = False
    found = geodesic_distance(image, seeds, sweeps=sweeps, limit=limit)
    assert (found[:, 1] == limit).all()
    assert found[:, 0].max() <= limit
    assert found[:, 0].isfinite().all()


def test_the_limit_cuts_the_map_and_changes_nothing_below() -> None:
    image, seeds = problem((1, 2, 5, 7, 11))
    whole = geodesic_distance(image, seeds, 0.5)
    assert torch.equal(geodesic_distance(image, seeds, 0.5, limit=1.5), whole.clamp(max=1.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_way_leads_across_nan(dtype: torch.dtype) -> None:
    image = torch.zeros(1, 1, 5, 40, dtype=dtype)
    image[..., 20] = torch.nan
    seeds = torch.zeros(1, 1, 5, 40)
    seeds[0, 0, 2, 3] = 1
    found = geodesic_distance(image, seeds, 0.5)
    assert found[..., :20].isfinite().all()
    assert (found[..., 20:] == torch.inf).all()


def test_sets_and_samples_do_not_influence_each_other() -> None:
    image, seeds = problem((2, 3, 17, 6))
    whole = geodesic_distance(image, seeds, 0.3)
    for b, k in itertools.product(range(2), range(2)):
        alone = geodesic_distance(image[b : b + 1], seeds[b : b + 1, k : k + 1], 0.3)
        assert torch.equal(whole[b, k], alone[0, 0])


def test_empty_batches_and_no_sets_give_empty_maps() -> None:
    assert geodesic_distance(torch.zeros(0, 1, 4, 5), torch.zeros(0, 2, 4, 5)).shape == (0, 2, 4, 5)
    assert geodesic_distance(torch.zeros(2, 1, 4, 5), torch.zeros(2, 0, 4, 5)).shape == (2, 0, 4, 5)


def test_strides_do_not_matter() -> None:
    image, seeds = problem((1, 2, 5, 7, 11))
    turned, turned_seeds = (t.transpose(2, 4).contiguous().transpose(2, 4) for t in (image, seeds))
    assert torch.equal(geodesic_distance(turned, turned_seeds, 0.5), geodesic_distance(image, seeds, 0.5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    image, seeds = problem((1, 1, 9, 13), dtype=dtype)
    found = geodesic_distance(image, seeds)
    assert found.dtype == torch.float32
    assert torch.equal(found, geodesic_distance(image.float(), seeds))


def test_nothing_is_differentiable() -> None:
    image, seeds = problem((1, 1, 9, 13))
    assert not geodesic_distance(image.requires_grad_(), seeds).requires_grad


@pytest.mark.parametrize("sets", [1, 3])
def test_threads_do_not_change_the_map(sets: int) -> None:
    image, seeds = problem((1, 1, 6, 140, 150), sets, torch.float32)
    maps = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            maps.append(geodesic_distance(image, seeds, 0.8))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(maps[0], other) for other in maps[1:])


def test_registration_export_and_compile(compiled: None) -> None:
    image, seeds = problem((1, 2, 6, 7))
    options = ([1.0, 1.0], 0.5, 0, 2, 10.0)
    torch.library.opcheck(torch.ops.medseg.geodesic_distance.default, (image, seeds, *options))

    class Map(torch.nn.Module):
        def forward(self, image: Tensor, seeds: Tensor) -> Tensor:
            return geodesic_distance(image, seeds, 0.5, sweeps=2, limit=10.0)

    expected = Map()(image, seeds)
    assert torch.equal(torch.export.export(Map(), (image, seeds)).module()(image, seeds), expected)
    assert torch.equal(torch.compile(Map(), fullgraph=True, backend="aot_eager")(image, seeds), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.zeros(4, 5)}, "image has shape [4, 5]; expected [B, C, H, W] or [B, C, D, H, W], none empty"),
        ({"seeds": torch.zeros(1, 1, 4, 6)}, "seeds have shape [1, 1, 4, 6]; expected [1, K, 4, 5] like the image"),
        ({"spacing": [1, 0]}, "spacing is [1.0, 0.0]; expected 2 positive numbers"),
        ({"weight": 1.5}, "weight is 1.5; expected 0 to 1"),
        ({"cost": "sum"}, "cost is 'sum'; expected one of additive, harmonic"),
        ({"sweeps": 0}, "sweeps is 0; expected at least 1, or None for the exact map"),
        ({"limit": 0.0}, "limit is 0.0; expected a positive number"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        geodesic_distance(**{"image": torch.zeros(1, 1, 4, 5), "seeds": torch.zeros(1, 1, 4, 5), **change})
    assert str(caught.value) == f"geodesic_distance: {message}"


def test_an_image_of_whole_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^geodesic_distance: image is torch.int64; expected float16"):
        geodesic_distance(torch.zeros(1, 1, 4, 5, dtype=torch.int64), torch.zeros(1, 1, 4, 5))


ISA_CODE = """
import torch
from medseg.ops import geodesic_distance, last_backend, status
g = torch.Generator().manual_seed(3)
for shape in ((1, 1, 3, 70), (2, 1, 50, 33), (1, 5, 6, 17, 40), (1, 17, 20, 19), (1, 3, 20, 7, 5)):
    image = torch.randn(shape, generator=g)
    seeds = torch.rand((shape[0], 2, *shape[2:]), generator=g) > 0.97
    for cost in ("additive", "harmonic"):
        for sweeps in (1, None):
            found = geodesic_distance(image, seeds, 0.6, cost=cost, sweeps=sweeps, limit=50.0)
            assert last_backend("geodesic_distance") == "cpu:{isa}", last_backend("geodesic_distance")
            exact = geodesic_distance(image.double(), seeds, 0.6, cost=cost, sweeps=sweeps, limit=50.0)
            assert last_backend("geodesic_distance") == "cpu:generic64"
            assert (found - exact).abs().max() < 1e-4
print("done")
"""


@pytest.mark.parametrize("isa", ["avx512", "avx2", "generic"])
def test_every_instruction_set_agrees_with_the_float64_kernel(compiled: None, isa: str) -> None:
    done = run_python(ISA_CODE.format(isa=isa), MEDSEG_ISA=isa)
    if "does not support it" in done.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert done.stdout == "done\n", done.stderr[-2000:]
