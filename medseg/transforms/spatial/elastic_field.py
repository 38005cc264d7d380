"""A smooth displacement field in millimetres, given by the control points of a cubic B-spline."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.transforms.spatial._bspline import contraction_bound, cubic_weights, interpolating_coefficients

__all__ = ["ElasticField", "FieldInverse", "GridField"]

Array = NDArray[np.float64]

_SAME_DIRECTION = 1e-4
_OVERHANG = 3  # control points beyond the image, so that its border is inside the spline
_REFINE = 4


class GridField(NamedTuple):
    """A field in the voxel units of one image, as :func:`medseg.ops.bspline_warp` expects it."""

    control: Array
    spacing: tuple[float, ...]
    origin: tuple[float, ...]


class FieldInverse(NamedTuple):
    """An approximate inverse field, and the largest deviation in mm of the composition from the identity."""

    field: ElasticField
    error_mm: float


@dataclass(frozen=True)
class ElasticField:
    """Displacement ``u``: the deformed image at position p shows the original at ``p + u(p)``.

    Positions and displacements are in mm along the axes of a reference grid, relative to the centre of its first voxel.
    A field can therefore be applied to images with any spacing and the same directions of the axes, and to points.

    Args:
        control_mm: displacement ``(d, *grid)`` in mm of every control point, d = 2 or 3; beyond the grid, the outermost
            points are repeated. These are coefficients: the B-spline approximates them; see :meth:`through` for
            interpolation.
        spacing_mm: distance in mm between control points along every axis, above 0.
        origin_mm: position of the first control point in mm.
        affine: 4 x 4 affine of the reference grid, voxel to RAS mm; the identity for arrays without an affine.
        scale: factor by which a random field was reduced to avoid folding; for information.

    Raises:
        ValueError: for shapes that do not match, or values that are not finite.

    Example:
        >>> shift = np.zeros((2, 4, 4))
        >>> shift[1] = 3.0
        >>> field = ElasticField(shift, spacing_mm=(20.0, 20.0), origin_mm=(0.0, 0.0))
        >>> field.displacement([[10.0, 10.0]]).round(6).tolist()
        [[0.0, 3.0]]
        >>> field.contraction < 1e-9
        True
    """

    control_mm: Array
    spacing_mm: Array
    origin_mm: Array
    affine: Array = field(default_factory=lambda: np.eye(4))
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("control_mm", "spacing_mm", "origin_mm", "affine"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        d = self.control_mm.shape[0] if self.control_mm.ndim else 0
        if d not in (2, 3) or self.control_mm.ndim != d + 1 or 0 in self.control_mm.shape:
            raise ValueError(f"control_mm has shape {self.control_mm.shape}, expected (2, gy, gx) or (3, gz, gy, gx)")
        if not np.isfinite(self.control_mm).all():
            raise ValueError("control_mm holds values that are not finite, expected displacements in mm")
        if self.spacing_mm.shape != (d,) or not (self.spacing_mm > 0).all() or not np.isfinite(self.spacing_mm).all():
            raise ValueError(f"spacing_mm is {self.spacing_mm.tolist()}, expected {d} numbers of mm above 0")
        if self.origin_mm.shape != (d,) or not np.isfinite(self.origin_mm).all():
            raise ValueError(f"origin_mm is {self.origin_mm.tolist()}, expected {d} positions in mm")
        if self.affine.shape != (4, 4):
            raise ValueError(f"affine has shape {self.affine.shape}, expected (4, 4), voxel to RAS mm")

    @classmethod
    def through(
        cls, values_mm: ArrayLike, spacing_mm: ArrayLike, origin_mm: ArrayLike, affine: ArrayLike | None = None
    ) -> ElasticField:
        """The field that has exactly the given displacement at every control point (cubic interpolation).

        Args:
            values_mm: displacement ``(d, *grid)`` in mm.
            spacing_mm: see the class.
            origin_mm: see the class.
            affine: see the class.
        """
        coefficients = interpolating_coefficients(np.asarray(values_mm, dtype=np.float64))
        matrix = np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64)
        return cls(coefficients, np.asarray(spacing_mm), np.asarray(origin_mm), matrix)

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return int(self.control_mm.shape[0])

    @cached_property
    def contraction(self) -> float:
        """Upper bound of the derivative of the field at all positions (largest row sum of ``|du/dp|``, no unit).

        It is computed from the Bezier coefficients of the B-spline. If it is below 1, the deformation is one-to-one
        (no folding), and the error of :meth:`inverse_points` decreases by at least this factor per iteration.
        """
        return contraction_bound(self.control_mm, self.spacing_mm)

    @property
    def jacobian_bounds(self) -> tuple[float, float]:
        """Guaranteed range of the Jacobian determinant (1: volumes do not change).

        The lower bound is 0 if the field may fold.
        """
        d = self.spatial_dims
        return max(0.0, 1 - self.contraction) ** d, (1 + self.contraction) ** d

    @property
    def largest_mm(self) -> float:
        """Length in mm of the longest control vector, an upper bound of the displacement."""
        return float(np.sqrt((self.control_mm**2).sum(0)).max())

    def limited(self, contraction: float) -> ElasticField:
        """This field, scaled down if necessary so that its :attr:`contraction` is at most the given number.

        Raises:
            ValueError: for a number that is not above 0.
        """
        if not contraction > 0:
            raise ValueError(f"contraction is {contraction}, expected a number above 0")
        if self.contraction <= contraction:
            return self
        factor = contraction / self.contraction
        return replace(self, control_mm=self.control_mm * factor, scale=self.scale * factor)

    def displacement(self, points_mm: ArrayLike) -> Array:
        """Displacement ``(N, d)`` in mm at positions ``(N, d)`` in mm along the axes."""
        points = np.asarray(points_mm, dtype=np.float64)
        t = (points - self.origin_mm) / self.spacing_mm
        first, weights = np.floor(t).astype(np.int64) - 1, cubic_weights(t - np.floor(t))
        total, control = np.zeros_like(points), np.moveaxis(self.control_mm, 0, -1)
        for corner in itertools.product(range(4), repeat=self.spatial_dims):
            index = tuple(np.clip(first[:, a] + j, 0, self.control_mm.shape[1 + a] - 1) for a, j in enumerate(corner))
            share = np.prod([weights[j][:, a] for a, j in enumerate(corner)], axis=0)
            total += share[:, None] * control[index]
        return total

    def inverse_points(self, points_mm: ArrayLike, tolerance_mm: float = 1e-6, most: int = 500) -> tuple[Array, float]:
        """Positions of points of the original in the deformed image: p with ``p + u(p) = q``, by fixed-point iteration.

        Args:
            points_mm: positions q ``(N, d)`` in mm along the axes.
            tolerance_mm: the iteration ends at this error.
            most: largest number of iterations.

        Returns:
            positions p, and the remaining error, the largest ``|p + u(p) - q|`` in mm.

        Raises:
            ValueError: for a negative tolerance or no iteration.
        """
        if not tolerance_mm >= 0 or most < 1:
            raise ValueError(f"tolerance_mm is {tolerance_mm} and most {most}, expected numbers from 0 and from 1")
        target = np.asarray(points_mm, dtype=np.float64)
        if not len(target):
            return target.copy(), 0.0
        found, error = target.copy(), np.inf
        for _ in range(most):
            moved = target - self.displacement(found)
            error = float(np.sqrt(((moved - found) ** 2).sum(1)).max())
            if error <= tolerance_mm:  # |p + u(p) - q| of `found`
                return found, error
            found = moved
        rest = found + self.displacement(found) - target
        return found, float(np.sqrt((rest**2).sum(1)).max())

    def inverse(self, size: Sequence[int], affine: ArrayLike | None = None) -> FieldInverse:
        """An approximate inverse field for an image, as a B-spline on a grid with a quarter of the spacing.

        Args:
            size: voxels of the image along every axis.
            affine: its affine; by default that of the reference grid.

        Returns:
            The field and its error, measured midway between its control points, where it is largest.
        """
        grid = self.on_grid(self.affine if affine is None else affine)
        voxel_mm = self.spacing_mm / np.array(grid.spacing)
        start = self.origin_mm - np.array(grid.origin) * voxel_mm
        extent = (np.array(size) - 1) * voxel_mm
        step = self.spacing_mm / _REFINE
        points = np.ceil(extent / step).astype(int) + 1 + 2 * _OVERHANG
        origin = start - _OVERHANG * step
        nodes = np.indices(points).reshape(len(points), -1).T * step + origin
        moved, _ = self.inverse_points(nodes)
        values = (moved - nodes).T.reshape(len(points), *points)
        found = ElasticField.through(values, step, origin, self.affine)
        middles = (nodes + step / 2).reshape(*points, -1)[(slice(_OVERHANG, -_OVERHANG - 1),) * len(points)]
        middles = middles.reshape(-1, len(points)) if middles.size else nodes
        back = found.displacement(middles)
        rest = back + self.displacement(middles + back)
        return FieldInverse(found, float(np.sqrt((rest**2).sum(1)).max()))

    def on_grid(self, affine: ArrayLike) -> GridField:
        """The field in voxel units of an image.

        Raises:
            ValueError: if the axes of the image have other directions than those of the reference grid.
        """
        scale, start = self._relative(affine)
        voxel_mm = scale * self._reference_spacing()
        start_mm = start * self._reference_spacing()
        control = self.control_mm / voxel_mm.reshape(-1, *[1] * self.spatial_dims)
        return GridField(control, tuple(self.spacing_mm / voxel_mm), tuple((self.origin_mm - start_mm) / voxel_mm))

    def to_mm(self, points_vox: ArrayLike, affine: ArrayLike) -> Array:
        """Positions in mm along the axes of voxel positions ``(N, d)`` of an image."""
        scale, start = self._relative(affine)
        return (np.asarray(points_vox, dtype=np.float64) * scale + start) * self._reference_spacing()

    def to_voxel(self, points_mm: ArrayLike, affine: ArrayLike) -> Array:
        """The inverse of :meth:`to_mm`."""
        scale, start = self._relative(affine)
        return (np.asarray(points_mm, dtype=np.float64) / self._reference_spacing() - start) / scale

    def _reference_spacing(self) -> Array:
        return np.sqrt((self.affine[:3, : self.spatial_dims] ** 2).sum(0))

    def _relative(self, affine: ArrayLike) -> tuple[Array, Array]:
        """Reference voxels = scale * voxels + start."""
        d, other = self.spatial_dims, np.asarray(affine, dtype=np.float64)
        if np.array_equal(other, self.affine):
            return np.ones(d), np.zeros(d)
        matrix = np.linalg.solve(self.affine, other)
        scale = np.diag(matrix)[:d]
        turned = np.abs(matrix[:3, :d] - np.eye(3)[:, :d] * scale).max() > _SAME_DIRECTION * np.abs(scale).min()
        if turned or not (scale > 0).all():
            raise ValueError(
                "the image's axes have other directions than those of the field's grid, expected equal ones; bring the "
                "images into one orientation first (Orientation, Spacing)"
            )
        return np.asarray(scale, dtype=np.float64), np.asarray(matrix[:d, 3], dtype=np.float64)
