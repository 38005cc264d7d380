"""Continuous shapes in patient millimetres: signed distances that can be sampled on any grid.

A shape is a function ``signed(points)`` that is negative inside, positive outside and close to the distance from the
surface in mm near the surface (exact for spheres and capsules, first order for the others), plus an axis-aligned
bounding box. Everything else (partial volume, labels, truth volumes) is sampled from these functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Blob", "Capsule", "Difference", "Intersection", "Offset", "Shape", "SmoothUnion", "Trunk", "Union", "Waves"]

Floats = NDArray[np.float32]
Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]

FAR_MM = 1e4
_CULL_MM = np.float32(30.0)


class Shape(ABC):
    """A region of patient space in millimetres (RAS axes)."""

    @abstractmethod
    def signed(self, points: Floats) -> Floats:
        """Signed distance estimate in mm, negative inside.

        Args:
            points: float32 positions in mm, shape ``(3, n)``.

        Returns:
            float32 values, shape ``(n,)``.
        """

    @abstractmethod
    def bounds(self) -> Bounds:
        """Lower and upper corner in mm of an axis-aligned box around the shape."""

    def signed_at(self, point: ArrayLike) -> float:
        """Signed distance estimate in mm of one position."""
        return float(self.signed(np.asarray(point, np.float32).reshape(3, 1))[0])


@dataclass(frozen=True)
class Waves:
    """A smooth random function: a sum of cosines of a vector argument.

    Attributes:
        vectors: wave vectors, shape ``(n, 3)``, in radians per unit of the argument.
        phases: shape ``(n,)``, radians.
        amplitudes: shape ``(n,)``.
    """

    vectors: NDArray[np.float64]
    phases: NDArray[np.float64]
    amplitudes: NDArray[np.float64]

    @classmethod
    def random(cls, rng: np.random.Generator, count: int, frequency: float, amplitude: float) -> Waves:
        """Draw ``count`` waves with wave numbers near ``frequency`` and a root mean square sum of ``amplitude``."""
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        vectors = directions * frequency * rng.uniform(0.7, 1.3, size=(count, 1))
        each = amplitude * np.sqrt(2.0 / count) if count else 0.0
        return cls(vectors, rng.uniform(0, 2 * np.pi, count), np.full(count, each))

    def __call__(self, argument: Floats) -> Floats:
        """Value for every column of ``argument`` with shape ``(3, n)``."""
        total = np.zeros(argument.shape[1], np.float32)
        for vector, phase, amplitude in zip(self.vectors, self.phases, self.amplitudes, strict=True):
            total += np.float32(amplitude) * np.cos(vector.astype(np.float32) @ argument + np.float32(phase))
        return total

    @property
    def bound(self) -> float:
        """The largest absolute value that the sum can reach."""
        return float(np.abs(self.amplitudes).sum())


NO_WAVES = Waves(np.zeros((0, 3)), np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class Blob(Shape):
    """An ellipsoid whose radius varies smoothly with direction (a star-shaped body).

    The surface lies where the ellipsoidal radius equals ``1 + waves(direction)``. With no waves and equal semi-axes it
    is a sphere and the distance is exact.

    Attributes:
        centre_mm: centre, RAS mm.
        semi_axes_mm: three semi-axes in mm.
        rotation: 3 x 3, columns are the directions of the semi-axes.
        waves: relative radius change as a function of the unit direction.
    """

    centre_mm: NDArray[np.float64]
    semi_axes_mm: NDArray[np.float64]
    rotation: NDArray[np.float64]
    waves: Waves = NO_WAVES

    def signed(self, points: Floats) -> Floats:
        """See `Shape.signed`."""
        axes = self.semi_axes_mm.astype(np.float32)[:, None]
        local = self.rotation.T.astype(np.float32) @ (points - self.centre_mm.astype(np.float32)[:, None])
        local /= axes
        radius = np.sqrt(np.einsum("dn,dn->n", local, local)) + np.float32(1e-6)
        excess = radius - np.float32(1.0)
        if len(self.waves.phases):
            excess -= self.waves(local / radius)
        local /= axes
        slope = np.sqrt(np.einsum("dn,dn->n", local, local)) / radius
        # At the very centre the direction is undefined; the steepest slope keeps the estimate on the safe side.
        return excess / np.where(radius > 1e-4, slope, np.float32(1.0 / self.semi_axes_mm.min()))

    def bounds(self) -> Bounds:
        """See `Shape.bounds`."""
        reach = np.sqrt((self.rotation**2) @ (self.semi_axes_mm**2)) * (1.0 + self.waves.bound)
        return self.centre_mm - reach, self.centre_mm + reach


@dataclass(frozen=True)
class Capsule(Shape):
    """A straight tube with round ends whose radius changes linearly from one end to the other.

    Attributes:
        start_mm: first end, RAS mm.
        end_mm: second end, RAS mm.
        start_radius_mm: radius at the first end.
        end_radius_mm: radius at the second end.
    """

    start_mm: NDArray[np.float64]
    end_mm: NDArray[np.float64]
    start_radius_mm: float
    end_radius_mm: float

    def signed(self, points: Floats) -> Floats:
        """See `Shape.signed`."""
        axis = (self.end_mm - self.start_mm).astype(np.float32)
        from_start = points - self.start_mm.astype(np.float32)[:, None]
        along = np.clip((axis @ from_start) / np.float32(max(float(axis @ axis), 1e-12)), 0.0, 1.0)
        from_start -= axis[:, None] * along
        radius = np.float32(self.start_radius_mm) + along * np.float32(self.end_radius_mm - self.start_radius_mm)
        return np.sqrt(np.einsum("dn,dn->n", from_start, from_start)) - radius

    def bounds(self) -> Bounds:
        """See `Shape.bounds`."""
        ends = np.stack([self.start_mm, self.end_mm])
        radii = np.array([[self.start_radius_mm], [self.end_radius_mm]])
        return (ends - radii).min(axis=0), (ends + radii).max(axis=0)


@dataclass(frozen=True)
class Trunk(Shape):
    """A body outline: a superelliptic cylinder along z, without ends, its girth changing smoothly with height.

    Attributes:
        centre_mm: x and y of the axis, mm.
        semi_axes_mm: half width (x) and half depth (y), mm.
        exponent: 2 is an ellipse, larger is squarer.
        girth: relative girth change as a function of ``(0, 0, z)`` in mm.
    """

    centre_mm: tuple[float, float]
    semi_axes_mm: tuple[float, float]
    exponent: float = 2.4
    girth: Waves = NO_WAVES

    def signed(self, points: Floats) -> Floats:
        """See `Shape.signed`."""
        height = np.zeros_like(points)
        height[2] = points[2]
        scale = 1.0 + self.girth(height)
        power = np.float32(self.exponent)
        total = np.zeros(points.shape[1], np.float32)
        for axis in (0, 1):
            centre, half = np.float32(self.centre_mm[axis]), np.float32(self.semi_axes_mm[axis])
            total += np.abs((points[axis] - centre) / (half * scale)) ** power
        return (total ** np.float32(1.0 / power) - np.float32(1.0)) * scale * np.float32(min(self.semi_axes_mm))

    def bounds(self) -> Bounds:
        """See `Shape.bounds`; the cylinder's ends are far outside every scan."""
        centre = np.array([*self.centre_mm, 0.0])
        reach = np.array([*self.semi_axes_mm, 0.0]) * (1.0 + self.girth.bound) + np.array([0.0, 0.0, FAR_MM])
        return centre - reach, centre + reach


@dataclass(frozen=True)
class Union(Shape):
    """Everything inside any of the members."""

    members: Sequence[Shape]

    def signed(self, points: Floats) -> Floats:
        """See `Shape.signed`."""
        return np.minimum.reduce([member.signed(points) for member in self.members])

    def bounds(self) -> Bounds:
        """See `Shape.bounds`."""
        boxes = [member.bounds() for member in self.members]
        return np.min([low for low, _ in boxes], axis=0), np.max([high for _, high in boxes], axis=0)


@dataclass(frozen=True)
class SmoothUnion(Shape):
    """The union of two shapes with a fillet of about ``blend_mm`` where they meet (polynomial smooth minimum)."""

    first: Shape
    second: Shape
    blend_mm: float

    def signed(self, points: Floats) -> Floats:
        """See `Shape.signed`."""
        a, b = self.first.signed(points), self.second.signed(points)
        mix = np.maximum(np.float32(self.blend_mm) - np.abs(a - b), 0) / np.float32(self.blend_mm)
        return np.minimum(a, b) - mix * mix * np.float32(self.blend_mm / 4.0)

    def bounds(self) -> Bounds:
        """See `Shape.bounds`."""
        low, high = Union([self.first, self.second]).bounds()
        return low - self.blend_mm / 4.0, high + self.blend_mm / 4.0


@dataclass(frozen=True)
class Intersection(Shape):
    """Everything inside all members."""

    members: Sequence[Shape]

    def signed(self, points: Floats) -> Floats:
        """See `Shape.signed`."""
        return np.maximum.reduce([member.signed(points) for member in self.members])

    def bounds(self) -> Bounds:
        """See `Shape.bounds`."""
        boxes = [member.bounds() for member in self.members]
        return np.max([low for low, _ in boxes], axis=0), np.min([high for _, high in boxes], axis=0)


@dataclass(frozen=True)
class Difference(Shape):
    """A shape without others cut out of it; both sides then touch along the cut."""

    base: Shape
    removed: Sequence[Shape]

    def signed(self, points: Floats) -> Floats:
        """See `Shape.signed`."""
        value = self.base.signed(points)
        for member in self.removed:
            low, high = (corner.astype(np.float32)[:, None] for corner in member.bounds())
            # A cut further away than a block of voxels reaches (up to 8 mm spacing) changes no decision: skipped.
            close = np.flatnonzero(((points > low - _CULL_MM) & (points < high + _CULL_MM)).all(axis=0))
            value[close] = np.maximum(value[close], -member.signed(points[:, close]))
        return value

    def bounds(self) -> Bounds:
        """See `Shape.bounds`."""
        return self.base.bounds()


@dataclass(frozen=True)
class Offset(Shape):
    """A shape grown (positive) or shrunk (negative) by a distance in mm."""

    base: Shape
    distance_mm: float

    def signed(self, points: Floats) -> Floats:
        """See `Shape.signed`."""
        return self.base.signed(points) - np.float32(self.distance_mm)

    def bounds(self) -> Bounds:
        """See `Shape.bounds`."""
        low, high = self.base.bounds()
        return low - max(self.distance_mm, 0.0), high + max(self.distance_mm, 0.0)
