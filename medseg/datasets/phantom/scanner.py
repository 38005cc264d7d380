"""What a scanner adds: blur, correlated noise, the scan circle and 16-bit integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from medseg.datasets.phantom.grid import Grid
from medseg.datasets.phantom.shapes import Floats
from medseg.geometry import spacing_of

__all__ = ["blur_image", "correlated_noise", "scan"]

FWHM_PER_SIGMA = 2.3548200450309493
LOWEST_HU, HIGHEST_HU = -1024, 3071


def blur_image(image: Floats, grid: Grid, blur_mm: float) -> Floats:
    """Convolve with a Gaussian point spread function, isotropic in mm.

    Args:
        image: HU, ``[i, j, k]``.
        grid: its grid (orthonormal axes).
        blur_mm: full width at half maximum in mm; 0 leaves the image as it is.
    """
    if blur_mm <= 0:
        return image
    return gaussian_filter(image, blur_mm / FWHM_PER_SIGMA / spacing_of(grid.affine_ras), mode="nearest", truncate=3.0)


def correlated_noise(rng: np.random.Generator, grid: Grid, sigma_hu: float, grain_mm: float) -> Floats:
    """Stationary Gaussian noise with a given standard deviation and grain, like that of a smooth reconstruction kernel.

    Args:
        rng: source of randomness.
        grid: the image's grid.
        sigma_hu: standard deviation in HU after filtering.
        grain_mm: full width at half maximum in mm of the Gaussian filter that correlates the noise; 0 is white noise.
    """
    noise = rng.standard_normal(grid.shape, dtype=np.float32)
    gain = 1.0
    for axis, step in enumerate(spacing_of(grid.affine_ras)):
        sigma = grain_mm / FWHM_PER_SIGMA / step
        if sigma < 0.1 or grid.shape[axis] == 1:
            continue
        noise = gaussian_filter1d(noise, sigma, axis=axis, mode="wrap", truncate=3.0)
        impulse = np.zeros(grid.shape[axis])
        impulse[0] = 1.0
        gain *= float(np.linalg.norm(gaussian_filter1d(impulse, sigma, mode="wrap", truncate=3.0)))
    noise *= np.float32(sigma_hu / gain)
    return noise


def scan(
    image: Floats,
    grid: Grid,
    rng: np.random.Generator,
    *,
    blur_mm: float,
    noise_hu: float,
    grain_mm: float = 1.5,
    padding_hu: int | None = None,
) -> NDArray[np.int16]:
    """Simulate acquisition: blur, noise, rounding, clipping to -1024..3071 HU, optional padding.

    Args:
        image: ideal HU with partial volume.
        grid: its grid.
        rng: source of the noise.
        blur_mm: full width at half maximum of the point spread function, mm.
        noise_hu: standard deviation of the noise, HU.
        grain_mm: grain of the noise, see `correlated_noise`.
        padding_hu: value written outside the circle inscribed in each ``[i, j]`` plane, or None for no circle.
    """
    result = blur_image(image, grid, blur_mm)
    if noise_hu > 0:
        result = result + correlated_noise(rng, grid, noise_hu, grain_mm)
    hu = np.clip(np.rint(result), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    if padding_hu is not None:
        hu[_outside_circle(grid)] = padding_hu
    return hu


def _outside_circle(grid: Grid) -> NDArray[np.bool_]:
    steps = spacing_of(grid.affine_ras)
    x, y = ((np.arange(n) - (n - 1) / 2.0) * step for n, step in zip(grid.shape[:2], steps[:2], strict=True))
    radius = min(n * step for n, step in zip(grid.shape[:2], steps[:2], strict=True)) / 2.0
    return x[:, None] ** 2 + y[None] ** 2 > radius**2
