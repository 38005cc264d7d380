"""Blur, noise, clipping and the scan circle."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.datasets.phantom.grid import make_grid
from medseg.datasets.phantom.scanner import blur_image, correlated_noise, scan


def test_blurred_point_has_the_stated_width_in_mm_on_every_axis() -> None:
    grid = make_grid((60, 60, 60), (0.5, 0.8, 1.0), None, "RAS")
    point = np.zeros(grid.shape, np.float32)
    middle = tuple(n // 2 for n in grid.shape)
    point[middle] = 1000.0
    blurred = blur_image(point, grid, 6.0)
    for axis, step in enumerate((0.5, 0.8, 1.0)):
        weights = blurred.sum(axis=tuple(a for a in range(3) if a != axis)).astype(np.float64)
        x = np.arange(len(weights)) * step
        mean = (weights * x).sum() / weights.sum()
        sigma = np.sqrt((weights * (x - mean) ** 2).sum() / weights.sum())
        assert sigma * 2.3548 == pytest.approx(6.0, rel=0.05)


@pytest.mark.parametrize("grain", [0.0, 1.5, 4.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5)])
def test_noise_has_the_stated_standard_deviation(grain: float, spacing: tuple[float, float, float]) -> None:
    grid = make_grid((0, 0, 0), spacing, (80, 80, 60), "RAS")
    noise = correlated_noise(np.random.default_rng(0), grid, 17.0, grain)
    assert noise.std() == pytest.approx(17.0, rel=0.03)
    assert abs(noise.mean()) < 0.6


def test_grainy_noise_is_correlated_between_neighbours() -> None:
    grid = make_grid((0, 0, 0), (1.0, 1.0, 1.0), (60, 60, 60), "RAS")
    correlation = {}
    for grain in (0.0, 3.0):
        noise = correlated_noise(np.random.default_rng(1), grid, 1.0, grain)
        correlation[grain] = float(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1])
    # Filtered white noise: autocorrelation exp(-d^2 / (4 sigma^2)).
    assert correlation[0.0] == pytest.approx(0.0, abs=0.02)
    assert correlation[3.0] == pytest.approx(np.exp(-1 / (4 * (3.0 / 2.3548) ** 2)), abs=0.03)


def test_hu_are_clipped_to_the_range_of_scanners() -> None:
    grid = make_grid((0, 0, 0), (1.0, 1.0, 1.0), (4, 4, 2), "RAS")
    image = np.full(grid.shape, 9000.0, np.float32)
    image[0] = -5000.0
    hu = scan(image, grid, np.random.default_rng(0), blur_mm=0.0, noise_hu=0.0)
    assert hu.dtype == np.int16 and hu.min() == -1024 and hu.max() == 3071


def test_outside_the_scan_circle_is_padding() -> None:
    grid = make_grid((0, 0, 0), (1.0, 1.0, 1.0), (50, 50, 2), "RAS")
    hu = scan(
        np.zeros(grid.shape, np.float32), grid, np.random.default_rng(0), blur_mm=0.0, noise_hu=0.0, padding_hu=-2048
    )
    assert hu[0, 0, 0] == -2048 and hu[25, 25, 0] == 0 and hu[25, 0, 0] == 0
    assert (hu == 0).mean() == pytest.approx(np.pi / 4, abs=0.02)
