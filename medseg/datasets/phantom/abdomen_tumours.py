"""Liver tumours: number, size, place, contrast and rim."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.datasets.phantom.draw import random_blob
from medseg.datasets.phantom.shapes import Blob, Shape

__all__ = ["MAX_TUMOURS", "Tumour", "draw_tumours"]

MAX_TUMOURS = 12
_DIAMETERS_MM = (3.0, 50.0)
_GAP_MM = 2.0
_TRIES = 4000


class Tumour(NamedTuple):
    """One tumour before sampling.

    Attributes:
        shape: the tumour.
        contrast_hu: tumour minus liver, HU.
        rim_mm: width of the blurred rim.
        kind: ``hypodense``, ``isodense`` or ``hyperdense``.
    """

    shape: Blob
    contrast_hu: float
    rim_mm: float
    kind: str


def draw_tumours(rng: np.random.Generator, liver: Shape, count: int | None) -> list[Tumour]:
    """Place tumours inside the liver, apart from each other, the largest first.

    Args:
        rng: source of randomness.
        liver: the liver in mm.
        count: how many; None draws 0 to 12 (mean about 4).
    """
    number = min(int(rng.geometric(0.22)) - 1, MAX_TUMOURS) if count is None else count
    low, high = np.log(_DIAMETERS_MM)
    # Most metastases are small: the logarithm of the diameter is drawn from a triangle leaning to 8 mm.
    diameters = np.sort(np.exp(rng.triangular(low, np.log(8.0), high, number)))[::-1]
    candidates = _positions_inside(rng, liver)
    placed: list[Tumour] = []
    for diameter in diameters:
        blob = _place(rng, liver, candidates, [tumour.shape for tumour in placed], float(diameter))
        if blob is not None:
            kind, contrast = _contrast(rng)
            rim = float(rng.uniform(0.5, 3.0)) * min(1.0, float(diameter) / 10.0)
            placed.append(Tumour(blob, contrast, rim, kind))
    return placed


def _positions_inside(rng: np.random.Generator, liver: Shape) -> NDArray[np.float64]:
    low, high = liver.bounds()
    points = rng.uniform(low, high, size=(_TRIES, 3))
    return points[liver.signed(points.T.astype(np.float32)) < -2.0]


def _place(
    rng: np.random.Generator, liver: Shape, candidates: NDArray[np.float64], others: list[Blob], diameter: float
) -> Blob | None:
    """A blob wholly inside the liver; it shrinks by a tenth until a place is found, never below 3 mm."""
    while diameter >= _DIAMETERS_MM[0]:
        semi_axes = diameter / 2.0 * np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.8, 1.0)])
        # Equal volume: dividing by the geometric mean keeps the drawn diameter for the smooth ellipsoid.
        semi_axes *= diameter / 2.0 / np.cbrt(semi_axes.prod())
        for centre in rng.permutation(candidates)[:60]:
            blob = random_blob(rng, centre, semi_axes, tilt_deg=60.0, size_spread=0.0, bumps=0.06, frequency=2.5)
            if _fits(liver, blob, others):
                return blob
        diameter *= 0.9
    return None


def _fits(liver: Shape, blob: Blob, others: list[Blob]) -> bool:
    reach = blob.semi_axes_mm.max() * (1.0 + blob.waves.bound)
    for other in others:
        apart = float(np.linalg.norm(blob.centre_mm - other.centre_mm))
        if apart < reach + other.semi_axes_mm.max() * (1.0 + other.waves.bound) + _GAP_MM:
            return False
    sphere = _SPHERE * reach + blob.centre_mm[:, None]
    return bool(liver.signed(sphere.astype(np.float32)).max() < -1.0)


def _contrast(rng: np.random.Generator) -> tuple[str, float]:
    kind = str(rng.choice(["hypodense", "isodense", "hyperdense"], p=[0.72, 0.10, 0.18]))
    spans = {"hypodense": (-60.0, -22.0), "isodense": (-12.0, 12.0), "hyperdense": (25.0, 60.0)}
    return kind, float(rng.uniform(*spans[kind]))


def _fibonacci_sphere(count: int) -> NDArray[np.float64]:
    height = 1.0 - 2.0 * (np.arange(count) + 0.5) / count
    angle = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(count)
    ring = np.sqrt(1.0 - height**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), height])


_SPHERE = _fibonacci_sphere(120)
