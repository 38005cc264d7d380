"""Synthetic 2-D patches: one small nodule, round or spiculated, among vessels in a large noisy field."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["NodulePatches", "nodule_patches"]

_MARGIN = 14
_VESSELS = (6, 10)
_DOTS = (4, 8)
_FINE_NOISE, _COARSE_NOISE, _COARSE_SCALE = 0.20, 0.12, 2.0


class NodulePatches(NamedTuple):
    """Patches with their truth.

    Attributes:
        images: float32 ``[n, size, size]``: lung about 0, vessels and nodules about 0.6 to 1.
        labels: int64 ``[n]``: 0 round, 1 spiculated, in equal numbers (one more round if n is odd).
        masks: bool ``[n, size, size]``, the nodule with its spicules.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]


def nodule_patches(count: int, seed: int, size: int = 128) -> NodulePatches:
    """Draw patches for a classification task in which only a few pixels matter.

    Every patch has one nodule of 6 to 8 pixels at a random place, crossing vessels (curved lines, some branching) and
    round dots (vessels cut across) as distractors, and noise. Size, brightness and surroundings are drawn the same way
    for both classes; only the outline differs: smooth, or with 5 to 8 spicules 2 to 4 pixels long.

    Args:
        count: number of patches.
        seed: of the random numbers; the same seed gives the same patches.
        size: pixels along each side, at least 48.

    Raises:
        ValueError: if ``count`` or ``size`` is too small.
    """
    if count < 1 or size < 48:
        raise ValueError(f"count is {count} and size {size}, expected at least 1 and at least 48")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    images = np.empty((count, size, size), np.float32)
    masks = np.empty((count, size, size), np.bool_)
    for number, label in enumerate(labels):
        images[number], masks[number] = _patch(rng, size, bool(label))
    return NodulePatches(images, labels.astype(np.int64), masks)


def _patch(rng: np.random.Generator, size: int, spiculated: bool) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij")).astype(np.float32)
    image = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(*_VESSELS, endpoint=True)):
        np.maximum(image, _vessel(rng, grid), out=image)
    for _ in range(rng.integers(*_DOTS, endpoint=True)):
        centre = rng.uniform(0, size, 2)
        distance = _length(*(grid - centre[:, None, None].astype(np.float32))) - rng.uniform(1.0, 2.0)
        np.maximum(image, rng.uniform(0.6, 1.0) * _cover(distance), out=image)
    distance = _nodule(rng, grid, spiculated)
    np.maximum(image, rng.uniform(0.7, 1.0) * _cover(distance), out=image)
    noise = _FINE_NOISE * rng.standard_normal((size, size))
    coarse = gaussian_filter(rng.standard_normal((size, size)), _COARSE_SCALE, mode="wrap")
    image += noise.astype(np.float32) + (_COARSE_NOISE * coarse / coarse.std()).astype(np.float32)
    return image, distance <= 0


def _nodule(rng: np.random.Generator, grid: NDArray[np.float32], spiculated: bool) -> NDArray[np.float32]:
    """Distance from a nodule's outline in pixels, negative inside."""
    size = grid.shape[1]
    y, x = grid - rng.uniform(_MARGIN, size - _MARGIN, 2)[:, None, None]
    radius, angle = _length(y, x), np.arctan2(y, x)
    waves = sum(rng.normal(scale=0.05) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3))
    distance = radius - rng.uniform(3.0, 4.0) * (1.0 + waves)
    if spiculated:
        number = int(rng.integers(5, 8, endpoint=True))
        turns = rng.uniform(0, 2 * np.pi) + (np.arange(number) + rng.uniform(-0.25, 0.25, number)) * 2 * np.pi / number
        for turn in turns:
            tip = (3.5 + rng.uniform(2.0, 4.0)) * np.array([np.sin(turn), np.cos(turn)])
            distance = np.minimum(distance, _segment(np.stack([y, x]), np.zeros(2), tip, 1.0, 0.4))
    return np.asarray(distance, np.float32)


def _vessel(rng: np.random.Generator, grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """A curved line across the field, sometimes with a branch."""
    size = grid.shape[1]
    heading, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.5)
    start = rng.uniform(0, size, 2)
    lines = [(start, heading, rng.uniform(0.3, 1.0) * size)]
    distance = np.full((size, size), np.inf, np.float32)
    while lines:
        point, heading, length = lines.pop()
        step = size / 8.0
        for _ in range(max(1, int(length / step))):
            heading += rng.normal(scale=0.25)
            end = point + step * np.array([np.sin(heading), np.cos(heading)])
            distance = np.minimum(distance, _segment(grid, point, end, width, width))
            point = end
            if rng.random() < 0.12:
                lines.append((point, heading + rng.choice([-0.8, 0.8]), step * 2))
    return np.asarray(rng.uniform(0.5, 0.9) * _cover(distance), np.float32)


def _segment(
    grid: NDArray[np.float32], start: NDArray[np.float64], end: NDArray[np.float64], width: float, tip_width: float
) -> NDArray[np.float32]:
    """Distance from a line of linearly changing half-width."""
    along = (end - start).astype(np.float32)
    y, x = grid[0] - np.float32(start[0]), grid[1] - np.float32(start[1])
    t = np.clip((y * along[0] + x * along[1]) / np.float32(along @ along), 0, 1)
    distance = _length(y - t * along[0], x - t * along[1]) - (width + (tip_width - width) * t)
    return np.asarray(distance, np.float32)


def _length(y: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(y * y + x * x))


def _cover(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of a pixel that a shape covers, to first order."""
    return np.asarray(np.clip(0.5 - distance, 0.0, 1.0), np.float32)
