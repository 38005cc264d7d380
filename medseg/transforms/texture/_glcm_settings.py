"""Grey levels and offsets of co-occurrence matrices, for maps and regions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from monai.config import NdarrayOrTensor
from torch import Tensor

from medseg.ops._glcm_features import feature_bits
from medseg.ops._histogram_bins import bin_position
from medseg.ops.local_glcm import MAX_LEVELS
from medseg.transforms._checks import check_in_order, whole_number
from medseg.transforms.texture._beside import spacing_in
from medseg.transforms.texture.region_histogram import check_value_range

__all__ = ["GlcmSettings", "Unit", "glcm_offsets"]

Unit = Literal["voxel", "mm"]


def glcm_offsets(
    distances: Sequence[float], spacing: Sequence[float], skip_axis: int | None = None
) -> list[tuple[int, ...]]:
    """Offsets in voxels for distances along all directions between neighbours: 4 in 2-D and 13 in 3-D.

    Only one of two opposite directions is used, because the matrix is symmetric. ``distance / spacing`` along the
    direction is rounded to whole voxels, as in scikit-image's ``graycomatrix`` for a spacing of 1. Offsets that are
    equal after rounding are returned once.

    Args:
        distances: lengths in the unit of the spacing.
        spacing: size of a voxel along each axis.
        skip_axis: axis along which no offset steps, e.g. that of thick slices.

    Raises:
        ValueError: for a distance that is rounded to 0 in all directions, or an axis that does not exist.

    Example:
        >>> glcm_offsets([1], (1.0, 1.0))
        [(0, 1), (1, -1), (1, 0), (1, 1)]
        >>> glcm_offsets([3.0], (5.0, 1.0, 1.0), skip_axis=0)
        [(0, 0, 3), (0, 2, -2), (0, 3, 0), (0, 2, 2)]
    """
    dims = len(spacing)
    if skip_axis is not None and not 0 <= skip_axis < dims:
        raise ValueError(f"skip_axis is {skip_axis}, expected 0 to {dims - 1} for this image")
    found: dict[tuple[int, ...], None] = {}
    for distance in distances:
        steps = []
        for direction in itertools.product((-1, 0, 1), repeat=dims):
            forward = next((v for v in direction if v), 0) > 0
            if not forward or (skip_axis is not None and direction[skip_axis]):
                continue
            length = math.sqrt(sum(v * v for v in direction))
            step = tuple(int(np.rint(distance * v / length / s)) for v, s in zip(direction, spacing, strict=True))
            steps += [step] if any(step) else []
        if not steps:
            sides = tuple(round(float(s), 4) for s in spacing)
            raise ValueError(f"distance {distance} is below half a voxel of {sides}, expected a longer one")
        found |= dict.fromkeys(steps)
    return list(found)


class GlcmSettings:
    """Checked levels, offsets and features.

    Args:
        levels: number of grey levels.
        value_range: intensities at the lower end of the first level and at the upper end of the last level.
        distances: lengths of the offsets.
        unit: "voxel", or "mm" according to the spacing in the affine of the image.
        features: names of features, in the order of the channels.
        quantise: True for whole levels, False for positions between them.
        skip_axis: axis along which no offset steps.

    Raises:
        ValueError: for an invalid value.
    """

    def __init__(
        self,
        levels: int,
        value_range: Sequence[float],
        distances: Sequence[float],
        unit: Unit,
        features: Iterable[str],
        quantise: bool,
        skip_axis: int | None,
    ) -> None:
        self.levels = whole_number("levels", levels)
        if not 2 <= self.levels <= MAX_LEVELS:
            raise ValueError(f"levels is {levels}, expected 2 to {MAX_LEVELS}")
        self.low, self.high = check_value_range(value_range)
        if not len(distances) or not all(math.isfinite(d) and d > 0 for d in distances):
            raise ValueError(f"distances is {tuple(distances)}, expected at least one number above 0")
        if unit not in ("voxel", "mm"):
            raise ValueError(f"unit is {unit!r}, expected 'voxel' or 'mm'")
        self.distances, self.unit = tuple(float(d) for d in distances), unit
        check_in_order("features", features)
        self.features = [features] if isinstance(features, str) else list(features)
        feature_bits("features", self.features)  # raises for an unknown feature or none
        self.quantise = quantise
        self.skip_axis = None if skip_axis is None else whole_number("skip_axis", skip_axis)

    def offsets(self, img: NdarrayOrTensor) -> list[tuple[int, ...]]:
        """The offsets in voxels of this image ``(C, *spatial)``."""
        return glcm_offsets(self.distances, spacing_in(self.unit, img, img.ndim - 1), self.skip_axis)

    def to_levels(self, image: Tensor) -> Tensor:
        """Grey levels: level k is the k-th bin of the range; without quantisation, k is the centre of that bin."""
        position = bin_position(image, self.levels, self.low, self.high)
        if self.quantise:
            return position.floor().clamp(0, self.levels - 1).to(image.dtype)
        return (position - 0.5).clamp(-0.5, self.levels - 0.5).to(image.dtype)
