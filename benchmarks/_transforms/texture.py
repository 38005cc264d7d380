"""Texture transforms against scikit-image and SciPy, each with the features and windows of its peer.

The peer of the co-occurrence maps is the loop that scikit-image leaves to its users: ``graycomatrix`` and
``graycoprops`` of every window. It runs on random windows only, and its time is scaled to all of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from skimage.filters import gabor
from skimage.filters.rank import windowed_histogram

from benchmarks._transforms.case import Case
from medseg.transforms import LBP, Gabor, LocalGLCM, LocalHistogram, LocalStatistics

WINDOW, BAR = 11, 100.0
PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "ASM", "energy", "correlation")
DIRECTIONS = (0, math.pi / 4, math.pi / 2, 3 * math.pi / 4)
BINS = 16


def smooth_levels(shape: tuple[int, ...], levels: int) -> NDArray[np.uint8]:
    """Smoothed noise in whole grey levels 0 to ``levels - 1``, all equally frequent."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2)
    ranks = np.argsort(np.argsort(noise, axis=None)).reshape(shape)
    return (ranks * levels // noise.size).astype(np.uint8)


def glcm(side: int, levels: int, windows: int) -> Case:
    """Maps of the six features that scikit-image has too, distance 1, mean of four directions."""
    image = smooth_levels((side, side), levels)
    x = torch.from_numpy(image).float()[None]
    ours = LocalGLCM(WINDOW, levels, (0, levels), features=[name.lower() for name in PROPERTIES])
    half = WINDOW // 2
    places = np.random.default_rng(1).integers(half, side - half, (windows, 2))

    def peer() -> NDArray[np.float64]:
        found = np.empty((len(PROPERTIES), windows))
        for n, (row, column) in enumerate(places):
            patch = image[row - half : row + half + 1, column - half : column + half + 1]
            matrix = graycomatrix(patch, [1], DIRECTIONS, levels, symmetric=True)  # graycoprops divides by the sum
            found[:, n] = [graycoprops(matrix, name).mean() for name in PROPERTIES]
        return found

    return Case(
        f"LocalGLCM {side}^2, window {WINDOW}, {levels} levels",
        lambda: ours(x),
        f"scikit-image loop ({windows} windows, scaled)",
        peer,
        as_peer=lambda maps: np.asarray(maps)[:, places[:, 0], places[:, 1]],
        tolerance=1e-4,
        bar=BAR,
        scale=side**2 / windows,
    )


def histogram(side: int) -> list[Case]:
    """Maps of 16 bins against scikit-image's sliding histogram and against a box filter of every bin."""
    image = smooth_levels((side, side), BINS)
    x = torch.from_numpy(image).float()[None]
    ours = LocalHistogram(WINDOW, BINS, (0, BINS))
    footprint = np.ones((WINDOW, WINDOW), np.uint8)

    def boxes() -> NDArray[np.float32]:
        count = uniform_filter(np.ones(image.shape, np.float32), WINDOW, mode="constant")
        planes = [uniform_filter((image == b).astype(np.float32), WINDOW, mode="constant") / count for b in range(BINS)]
        return np.stack(planes)

    def sliding() -> NDArray[np.float64]:
        found: NDArray[np.float64] = windowed_histogram(image, footprint, n_bins=BINS)
        return np.moveaxis(found, -1, 0)

    name = f"LocalHistogram {side}^2, window {WINDOW}, {BINS} bins"
    peers = (("scikit-image windowed_histogram", sliding), ("SciPy uniform_filter a bin", boxes))
    return [Case(name, lambda: ours(x), peer_name, peer) for peer_name, peer in peers]


def statistics(shape: tuple[int, ...], window: int) -> Case:
    """Mean, deviation, skewness and kurtosis against SciPy's box filters of four powers, both in float64."""
    image = np.random.default_rng(2).normal(40, 100, shape)
    x = torch.from_numpy(image)[None]
    ours = LocalStatistics(window)

    def peer() -> NDArray[np.float64]:
        middle = image.mean()
        count = uniform_filter(np.ones(shape), window, mode="constant")
        m1, m2, m3, m4 = (uniform_filter((image - middle) ** k, window, mode="constant") / count for k in (1, 2, 3, 4))
        variance = m2 - m1**2
        skewness = (m3 - 3 * m1 * m2 + 2 * m1**3) / variance**1.5
        kurtosis = (m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4) / variance**2 - 3
        return np.stack([m1 + middle, np.sqrt(variance), skewness, kurtosis])

    size = f"{shape[0]}^2" if len(shape) == 2 else "x".join(map(str, shape))
    name = f"LocalStatistics {size}, window {window}"
    return Case(name, lambda: ours(x), "SciPy uniform_filter", peer, tolerance=1e-8)


def patterns(side: int) -> Case:
    """Masks, borders and containers around scikit-image's own codes: what they cost."""
    image = np.random.default_rng(3).integers(-1000, 1000, (side, side))
    x = torch.from_numpy(image).float()[None]
    ours = LBP()
    return Case(
        f"LBP {side}^2, 8 points",
        lambda: ours(x),
        "local_binary_pattern alone",
        lambda: local_binary_pattern(image, 8, 1, "uniform")[1:-1, 1:-1],
        as_peer=lambda codes: np.asarray(codes)[0, 1:-1, 1:-1],
        tolerance=0.0,
    )


def waves(side: int) -> Case:
    """Three frequencies in four directions."""
    image = np.random.default_rng(4).normal(size=(side, side)).astype(np.float32)
    x = torch.from_numpy(image)[None]
    ours = Gabor()

    def peer() -> NDArray[Any]:
        found = [gabor(image, f, math.radians(a), mode="nearest") for f in ours.frequencies for a in ours.angles]
        return np.stack([np.hypot(real, imag) for real, imag in found])

    name = f"Gabor {side}^2, 12 filters"
    return Case(name, lambda: ours(x), "scikit-image gabor", peer, tolerance=1e-4)


def cases(quick: bool) -> list[Case]:
    """All comparisons of texture."""
    side, windows = (256, 25) if quick else (512, 1000)
    volume = (24, 64, 64) if quick else (64, 128, 128)
    found = [glcm(side, levels, windows) for levels in (32, 256)]
    return [
        *found,
        *histogram(side),
        statistics((side, side), WINDOW),
        statistics(volume, 5),
        patterns(side),
        waves(side),
    ]
