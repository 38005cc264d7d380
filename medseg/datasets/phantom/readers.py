"""Four simulated readers: redrawn outlines, missed nodules and scattered ratings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.datasets.phantom.grid import Grid, sample_shape
from medseg.datasets.phantom.model import ReaderMask
from medseg.datasets.phantom.nodules import Nodule
from medseg.datasets.phantom.shapes import Bounds, Floats, Intersection, Shape, Waves

__all__ = ["READERS", "Redrawn", "read_nodule"]

READERS = 4
# Relative to the radius, and in mm: chosen so that two readers' masks agree with a Dice of about 0.75 to 0.85.
_BIAS, _SHIFT, _WOBBLE = (0.055, 0.06), (0.035, 0.05), (0.06, 0.06)


@dataclass(frozen=True)
class Redrawn(Shape):
    """A shape as one reader sees it: moved, grown or shrunk, and with a wobbling border.

    Attributes:
        base: the truth.
        centre_mm: point that the wobble's directions are seen from, RAS mm.
        shift_mm: displacement.
        bias_mm: growth (positive) or shrinkage.
        wobble: border displacement in mm as a function of the unit direction.
    """

    base: Shape
    centre_mm: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    bias_mm: float
    wobble: Waves

    def signed(self, points: Floats) -> Floats:
        """See `Shape.signed`."""
        moved = points - self.shift_mm.astype(np.float32)[:, None]
        outward = moved - self.centre_mm.astype(np.float32)[:, None]
        outward /= np.sqrt(np.einsum("dn,dn->n", outward, outward)) + np.float32(1e-6)
        return self.base.signed(moved) - np.float32(self.bias_mm) - self.wobble(outward)

    def bounds(self) -> Bounds:
        """See `Shape.bounds`."""
        low, high = self.base.bounds()
        reach = np.abs(self.shift_mm) + max(self.bias_mm, 0.0) + self.wobble.bound
        return low - reach, high + reach


def read_nodule(rng: np.random.Generator, nodule: Nodule, lungs: Shape, grid: Grid) -> list[ReaderMask]:
    """Masks and ratings of those of the four readers who saw the nodule (at least one draws it).

    A reader whose outline holds no voxel centre of the grid, or whose nodule lies outside it, has no mask in the list.

    Args:
        rng: source of randomness, used alike on every grid.
        nodule: the truth.
        lungs: readers never draw outside it (beyond 0.3 mm).
        grid: where the masks are sampled.
    """
    miss = 0.02 + 0.30 * (5 - nodule.ratings["subtlety"]) / 4.0
    seen = rng.random(READERS) >= miss
    if not seen.any():
        seen[rng.integers(READERS)] = True
    radius = float(np.cbrt(nodule.blob.semi_axes_mm.prod()))
    masks = []
    for reader in range(READERS):
        drawn = _redraw(rng, nodule, radius)
        ratings = _scatter(rng, nodule.ratings)
        sampled = sample_shape(Intersection([drawn, lungs]), grid) if seen[reader] else None
        if sampled is not None and sampled.inside.any():
            masks.append(ReaderMask(reader, sampled.box, sampled.inside, ratings))
    return masks


def _redraw(rng: np.random.Generator, nodule: Nodule, radius: float) -> Redrawn:
    bias, shift, wobble = (relative * radius + fixed for relative, fixed in (_BIAS, _SHIFT, _WOBBLE))
    return Redrawn(
        base=nodule.shape,
        centre_mm=nodule.blob.centre_mm,
        shift_mm=rng.normal(scale=shift, size=3),
        # Truncated: nobody draws less than two thirds of the radius.
        bias_mm=float(np.clip(rng.normal(scale=bias), -radius / 3.0, radius / 2.0)),
        wobble=Waves.random(rng, 6, 2.6, wobble),
    )


def _scatter(rng: np.random.Generator, ratings: dict[str, int]) -> dict[str, int]:
    """Add -1, 0 or +1 to each five-level rating; the two categorical ones stay."""
    result = {}
    for name, value in ratings.items():
        change = int(rng.choice([-1, 0, 1], p=[0.2, 0.6, 0.2]))
        result[name] = value if name in ("internalStructure", "calcification") else int(np.clip(value + change, 1, 5))
    return result
