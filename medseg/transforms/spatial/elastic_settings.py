"""Settings of random elastic fields: those of well-known papers, and user-defined ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medseg._arguments import checked_arguments
from medseg.transforms._checks import whole_number
from medseg.transforms.spatial.elastic_field import ElasticField

__all__ = ["ELASTIC_PRESETS", "ElasticSettings"]

_MOST_POINTS = 1e7


@checked_arguments
@dataclass(frozen=True)
class ElasticSettings:
    """Grid and size of random displacements; those of the control points are independent and normally distributed.

    Args:
        std: standard deviation of the displacement of a control point along every axis, in ``units``, 0 or more.
        points: number of control points along every axis; the first and last one are at the first and last voxel of
            the image. Or None.
        spacing: distance of control points in ``units``, with one control point beyond the image on every side. Or
            None. Give exactly one of ``points`` and ``spacing``.
        units: "mm", or "voxel" of the image that the field is drawn for.
        interpolate: True: the random values are displacements at the control points (bicubic / tricubic interpolation).
            False: they are B-spline coefficients, which give a smoother and weaker field.

    Raises:
        ValueError: for settings that do not define a grid.

    Example:
        >>> settings = ElasticSettings(std=4.0, spacing=32.0, units="voxel")
        >>> field = settings.draw(np.random.RandomState(0), (96, 96, 48), np.eye(4))
        >>> field.control_mm.shape
        (3, 6, 6, 5)
    """

    std: float
    points: int | None = None
    spacing: float | None = None
    units: Literal["mm", "voxel"] = "mm"
    interpolate: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.std < np.inf:
            raise ValueError(f"std is {self.std}, expected a number of {self.units} from 0")
        if (self.points is None) == (self.spacing is None):
            raise ValueError(f"points is {self.points} and spacing is {self.spacing}, expected exactly one of them")
        if self.points is not None:
            object.__setattr__(self, "points", whole_number("points", self.points, 2))
        if self.spacing is not None and not 0 < self.spacing < np.inf:
            raise ValueError(f"spacing is {self.spacing}, expected a number of {self.units} above 0")
        if self.units not in ("mm", "voxel"):
            raise ValueError(f"units is {self.units!r}, expected 'mm' or 'voxel'")

    def draw(self, random: np.random.RandomState, size: Sequence[int], affine: ArrayLike) -> ElasticField:
        """A random field for an image.

        Args:
            random: source of the random numbers.
            size: voxels along its 2 or 3 axes.
            affine: 4 x 4, voxel to RAS mm.

        Raises:
            ValueError: if the grid of control points is too large.
        """
        matrix, d = np.asarray(affine, dtype=np.float64), len(size)
        voxel_mm = np.sqrt((matrix[:3, :d] ** 2).sum(0))
        unit_mm = voxel_mm if self.units == "voxel" else np.ones(d)
        extent = np.maximum(np.array(size) - 1, 1) * voxel_mm
        if self.points is not None:
            counts, step, origin = [self.points] * d, extent / (self.points - 1), np.zeros(d)
        else:
            assert self.spacing is not None
            step = self.spacing * unit_mm
            counts, origin = [int(n) for n in np.ceil(extent / step - 1e-9) + 3], -step
        if np.prod(counts, dtype=np.float64) > _MOST_POINTS:
            raise ValueError(
                f"settings give {' x '.join(str(n) for n in counts)} control points for an image of "
                f"{' x '.join(str(n) for n in size)} voxels, expected at most {_MOST_POINTS:g}: use a larger spacing"
            )
        values = random.normal(0.0, self.std, (d, *counts)) * unit_mm.reshape(-1, *[1] * d)
        if self.interpolate:
            return ElasticField.through(values, step, origin, matrix)
        return ElasticField(values, step, origin, matrix)


ELASTIC_PRESETS: Mapping[str, ElasticSettings] = MappingProxyType(
    {
        "unet": ElasticSettings(std=10.0, points=3, units="voxel", interpolate=True),
        "unet3d": ElasticSettings(std=4.0, spacing=32.0, units="voxel"),
        "vnet": ElasticSettings(std=15.0, points=2, units="mm"),
    }
)
"""Settings by name.

* "unet": 3 x 3 grid, 10 pixels, bicubic interpolation (Ronneberger et al. 2015);
* "unet3d": a B-spline grid of 32 voxels, 4 voxels (Cicek et al. 2016);
* "vnet": 2 x 2 x 2 control points of a B-spline (Milletari et al. 2016; the paper names no size, 15 mm is chosen here).

The grids of "unet" and "vnet" cover the image whatever its size, so the same displacements deform small images more
strongly. At the image sizes of the papers no field is close to folding, but at 96 x 96 most fields of "unet" are scaled
down because of the ``fold_limit`` of :class:`medseg.transforms.RandElasticDeform`; ``field.scale`` is the factor.
"""
