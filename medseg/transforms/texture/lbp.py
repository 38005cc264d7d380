"""Local binary patterns: which of a circle's points around every voxel are at least as bright as the voxel."""

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

from medseg.transforms.texture._beside import AddsBeside, as_image, as_mask
from medseg.transforms.texture._slices import from_slices, to_slices

__all__ = ["LBP", "LBPMethod", "LBPd"]

LBPMethod = Literal["default", "ror", "uniform", "nri_uniform", "var"]
NO_CODE = -1.0


class LBP(Transform):
    """Codes of the local binary pattern, by scikit-image's ``local_binary_pattern``; a volume slice by slice.

    Points on a circle around a voxel are read bilinearly and compared with it. A voxel has a code only if all that its
    points read lies in the image and in the mask and is finite: elsewhere the map is -1, which a
    :class:`RegionHistogram` of ``codes`` bins over ``value_range=(-0.5, codes - 0.5)`` leaves out. (scikit-image
    itself reads 0 beyond the border, which is no neutral value in HU.)

    Codes do not change with brightness or contrast, but in flat regions they see the last digit of the intensities:
    take whole HU where you can, as scikit-image advises by a warning. Not differentiable. Source: Ojala, Pietikäinen
    and Mäenpää, IEEE TPAMI 24, 2002.

    Args:
        points: points on the circle, 1 to 24.
        radius: radius of the circle in voxels, above 0; in-plane voxels are taken as square.
        method: "default" for the pattern itself, "ror" for its smallest rotation, "uniform" for the number of points of
            rotation-invariant uniform patterns, "nri_uniform" for uniform patterns with their rotation, "var" for the
            variance of the points (no code; 0 where they are all equal, where scikit-image gives NaN).
        slice_axis: for a volume, the spatial axis (0 is the first after the channel) along which the slices lie; None
            for an image of two spatial axes.

    Raises:
        ValueError: for points, a radius or a method that cannot be.

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
        if points != int(points) or not 1 <= points <= 24:
            raise ValueError(f"points is {points}, expected a whole number from 1 to 24")
        if not (math.isfinite(radius) and radius > 0):
            raise ValueError(f"radius is {radius}, expected a number of voxels above 0")
        if method not in get_args(LBPMethod):
            raise ValueError(f"method is {method!r}, expected one of {', '.join(get_args(LBPMethod))}")
        self.points, self.radius, self.method, self.slice_axis = int(points), float(radius), method, slice_axis

    @property
    def codes(self) -> int | None:
        """Number of codes, which are 0 to ``codes - 1``; None for "var", whose values are not codes."""
        count = self.points
        return {"uniform": count + 2, "nri_uniform": count * (count - 1) + 3, "var": None}.get(self.method, 2**count)

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Return the codes ``(C, *spatial)``, one map a channel in the image's order, -1 where there is none.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes; left as it is.
            mask: the voxels that count, ``(1, *spatial)`` or ``(C, *spatial)``; None for all.

        Raises:
            ValueError: for shapes that do not fit, or a slice axis that does not.
        """
        tracked, image = as_image(img)
        inside = as_mask(mask, image)
        valid = image.isfinite() if inside is None else image.isfinite() & inside
        values = to_slices(torch.where(valid, image, 0.0), self.slice_axis).detach().cpu().double().numpy()
        maps = np.where(self._readable(to_slices(valid, self.slice_axis).cpu().numpy()), self._codes(values), NO_CODE)
        result = from_slices(torch.from_numpy(maps), self.slice_axis)
        return convert_to_dst_type(result, tracked, dtype=image.dtype)[0]

    def _codes(self, slices: NDArray[np.float64]) -> NDArray[np.float64]:
        from skimage.feature import local_binary_pattern

        whole = np.rint(slices)
        # scikit-image warns of floating types, which is needless where the values are whole.
        planes: NDArray[Any] = whole.astype(np.int64) if np.array_equal(whole, slices) else slices
        found = np.zeros(slices.shape)
        for place in np.ndindex(slices.shape[:2]):
            found[place] = local_binary_pattern(planes[place], self.points, self.radius, self.method)
        return np.maximum(np.nan_to_num(found, copy=False), 0.0)

    def _readable(self, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where the voxel and all voxels that its points read count."""
        footprint = _footprint(self.points, self.radius)
        reach, (height, width) = len(footprint) // 2, valid.shape[2:]
        padded = np.pad(valid, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
        kept = valid.copy()
        for row, column in np.argwhere(footprint):
            kept &= padded[:, :, row : row + height, column : column + width]
        return kept


class LBPd(AddsBeside):
    """Dictionary form of :class:`LBP`: the codes of ``key`` become ``key + postfix``.

    Args:
        keys: the images, which stay as they are.
        points: see :class:`LBP`.
        radius: see :class:`LBP`.
        method: see :class:`LBP`.
        slice_axis: see :class:`LBP`.
        mask_key: the item with the voxels that count; None for all.
        postfix: appended to a key to name its codes.
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
    """The voxels around a voxel, and itself, that bilinear reading of the circle's points takes with a weight above 0.

    The points run from the last axis against the first, rounded to five digits as scikit-image's are.
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
