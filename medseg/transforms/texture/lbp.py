"""Local binary patterns: which points on a circle around a voxel are at least as bright as the voxel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type
from numpy.typing import NDArray

from medseg._arguments import checked_arguments
from medseg.transforms._checks import whole_number
from medseg.transforms.texture._beside import AddsBeside, as_image, as_mask
from medseg.transforms.texture._slices import from_slices, to_slices

__all__ = ["LBP", "LBPMethod", "LBPd"]

LBPMethod = Literal["default", "ror", "uniform", "nri_uniform", "var"]
NO_CODE = -1.0


@checked_arguments
class LBP(Transform):
    """Codes of scikit-image's ``local_binary_pattern``; a volume is processed slice by slice.

    Points on a circle around a voxel are interpolated bilinearly and compared with the voxel. A voxel has a code only
    if all voxels that are used for this are finite, inside the image and inside the mask. Elsewhere the map is -1, and
    a :class:`RegionHistogram` with ``codes`` bins and ``value_range=(-0.5, codes - 0.5)`` does not count it.
    (scikit-image itself uses 0 beyond the border, which is not a neutral value in HU.)

    Codes do not depend on brightness or contrast. In homogeneous regions they depend on the last digit of the
    intensities, so use whole HU if possible; scikit-image warns about this. Not differentiable. Source: Ojala,
    Pietikäinen and Mäenpää, IEEE TPAMI 24, 2002.

    A voxel that is not finite leaves those without a code whose circle reads it, and changes no other.

    Args:
        points: number of points on the circle, 1 to 24.
        radius: radius of the circle in voxels, above 0; voxels are assumed to be square in the slice.
        method: "default" for the pattern itself, "ror" for its smallest rotation, "uniform" for rotation-invariant
            uniform patterns (the number of brighter points), "nri_uniform" for uniform patterns that are not
            rotation-invariant, "var" for the variance of the points (not a code; 0 where all points are equal, while
            scikit-image gives NaN).
        slice_axis: for a volume, the spatial axis (0 is the first after the channel) perpendicular to the slices; None
            for an image with two spatial axes.

    Raises:
        ValueError: for an invalid number of points, radius or method.

    Example:
        >>> image = np.arange(25).reshape(1, 5, 5)
        >>> lbp = LBP(points=8, radius=1.0)
        >>> lbp.codes
        10
        >>> lbp(image)[0, 2].tolist()
        [-1.0, 4.0, 4.0, 4.0, -1.0]
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self, points: int = 8, radius: float = 1.0, method: LBPMethod = "uniform", slice_axis: int | None = None
    ) -> None:
        if not (1 <= points <= 24 and float(points).is_integer()):
            raise ValueError(f"points is {points}, expected a whole number from 1 to 24")
        if not (math.isfinite(radius) and radius > 0):
            raise ValueError(f"radius is {radius}, expected a number of voxels above 0")
        if method not in get_args(LBPMethod):
            raise ValueError(f"method is {method!r}, expected one of {', '.join(get_args(LBPMethod))}")
        self.points, self.radius, self.method = int(points), float(radius), method
        self.slice_axis = None if slice_axis is None else whole_number("slice_axis", slice_axis)

    @property
    def codes(self) -> int | None:
        """Number of codes; the codes are 0 to ``codes - 1``. None for "var", which does not give codes."""
        count = self.points
        return {"uniform": count + 2, "nri_uniform": count * (count - 1) + 3, "var": None}.get(self.method, 2**count)

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Return the codes ``(C, *spatial)``, one map per channel of the image; -1 where there is no code.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes; it is not modified.
            mask: mask of the voxels to use, ``(1, *spatial)`` or ``(C, *spatial)``; None for all.

        Raises:
            ValueError: for shapes or a slice axis that do not match.
        """
        tracked, image = as_image(img)
        inside = as_mask(mask, image)
        valid = image.isfinite() if inside is None else image.isfinite() & inside
        values = to_slices(torch.where(valid, image, 0.0), self.slice_axis).detach().cpu().double().numpy()
        readable = self._readable(to_slices(valid, self.slice_axis).cpu().numpy())
        maps = np.where(readable, self._codes(values), NO_CODE) if readable.any() else np.full(readable.shape, NO_CODE)
        result = from_slices(torch.from_numpy(maps), self.slice_axis)
        return convert_to_dst_type(result, tracked, dtype=image.dtype)[0]

    def _codes(self, slices: NDArray[np.float64]) -> NDArray[np.float64]:
        from skimage.feature import local_binary_pattern

        whole = np.rint(slices)
        # scikit-image warns about floating types; this is not needed if all values are whole numbers.
        planes: NDArray[Any] = whole.astype(np.int64) if np.array_equal(whole, slices) else slices
        found = np.zeros(slices.shape)
        for place in np.ndindex(slices.shape[:2]):
            found[place] = local_binary_pattern(planes[place], self.points, self.radius, self.method)
        return np.maximum(np.nan_to_num(found, copy=False), 0.0)

    def _readable(self, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where the voxel, and all voxels that are interpolated for its points, are valid."""
        if self.radius >= max(valid.shape[2:]):  # the first point of every circle is outside of the image
            return np.zeros_like(valid)
        footprint = _footprint(self.points, self.radius)
        reach, (height, width) = len(footprint) // 2, valid.shape[2:]
        padded = np.pad(valid, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
        kept = valid.copy()
        for row, column in np.argwhere(footprint):
            kept &= padded[:, :, row : row + height, column : column + width]
        return kept


@checked_arguments
class LBPd(AddsBeside):
    """Dictionary form of :class:`LBP`: the codes of ``key`` become ``key + postfix``.

    Args:
        keys: the images; they do not change.
        points: see :class:`LBP`.
        radius: see :class:`LBP`.
        method: see :class:`LBP`.
        slice_axis: see :class:`LBP`.
        mask_key: item of the mask; None to use all voxels.
        postfix: appended to the key to form the name of the codes.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> LBPd("image")({"image": np.arange(25).reshape(1, 5, 5)})["image_lbp"].shape
        torch.Size([1, 5, 5])
    """

    backend = LBP.backend

    def __init__(
        self,
        keys: KeysCollection,
        points: int = 8,
        radius: float = 1.0,
        method: LBPMethod = "uniform",
        slice_axis: int | None = None,
        mask_key: str | None = None,
        postfix: str = "_lbp",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, LBP(points, radius, method, slice_axis), postfix, mask_key, allow_missing_keys)


def _footprint(points: int, radius: float) -> NDArray[np.bool_]:
    """The voxels, relative to the centre, that have a weight above 0 in the bilinear interpolation of the points.

    The points start at the last axis and turn against the first; they are rounded to five digits as in scikit-image.
    """
    angles = 2 * np.pi * np.arange(points) / points
    reach = math.ceil(round(radius, 5))
    found = np.zeros((2 * reach + 1, 2 * reach + 1), bool)
    found[reach, reach] = True
    for row, column in np.round(np.stack([-radius * np.sin(angles), radius * np.cos(angles)], axis=1), 5):
        for i in _neighbours(row):
            found[reach + i, [reach + j for j in _neighbours(column)]] = True
    return found


def _neighbours(position: float) -> Sequence[int]:
    return sorted({math.floor(position), math.ceil(position)})
