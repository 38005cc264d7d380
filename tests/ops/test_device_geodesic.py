"""geodesic_distance on the device named by ``--device`` against the portable float64 CPU kernel."""

from __future__ import annotations

import pytest
import torch

from medseg.ops import compiled, geodesic_distance, last_backend


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cost", ["additive", "harmonic"])
@pytest.mark.parametrize("sweeps", [1, None])
@pytest.mark.parametrize("shape", [(2, 1, 9, 13), (1, 2, 5, 8, 7)], ids=str)
def test_the_map_equals_that_of_the_cpu(shape, sweeps, cost, dtype, device) -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    seeds = torch.rand((shape[0], 2, *shape[2:]), generator=generator) > 0.97
    expected = geodesic_distance(image.double(), seeds, 0.6, cost=cost, sweeps=sweeps, limit=20.0)
    found = geodesic_distance(image.to(device), seeds.to(device), 0.6, cost=cost, sweeps=sweeps, limit=20.0)
    assert found.device.type == torch.device(device).type
    if compiled():
        assert last_backend("geodesic_distance").startswith(torch.device(device).type)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(found.cpu().double(), expected, rtol=tolerance, atol=tolerance)


def test_the_map_has_the_bits_of_the_cpu(device) -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(1, 2, 20, 60, 50, generator=generator)
    seeds = torch.rand((1, 3, 20, 60, 50), generator=generator) > 0.999
    for options in ({"cost": "additive", "sweeps": 2}, {"cost": "harmonic"}):
        found = geodesic_distance(image.to(device), seeds.to(device), 0.7, (2.5, 0.7, 0.7), **options)
        assert torch.equal(found.cpu(), geodesic_distance(image, seeds, 0.7, (2.5, 0.7, 0.7), **options))
