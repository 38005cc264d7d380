"""Guide maps: prompts drawn as input channels of a network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from numpy.typing import NDArray

from medseg._arguments import checked_arguments
from medseg.ops.geodesic_distance import Cost
from medseg.transforms._arrays import numpy_array, tracked_tensor
from medseg.transforms._checks import LEAST_FLOAT32, MOST_FLOAT32, check_in_order
from medseg.transforms.guidance._draw import draw_boxes, draw_discs, draw_gaussians, seed_mask
from medseg.transforms.guidance.geodesic_distance import GeodesicDistance, Unit, image_spacing
from medseg.transforms.guidance.prompts import (
    OutsideRule,
    PromptFrame,
    Prompts,
    PromptTable,
    check_frame,
    check_outside,
    move_prompts,
    place_prompts,
    read_prompts,
    within,
)

__all__ = ["GuideKind", "GuideMap", "GuideMapd"]

GuideKind = Literal["gauss", "ellipse", "disc", "box", "edt", "geodesic", "exp_geodesic"]
_CLASSES = {"fg": 1, "bg": 0}


@checked_arguments
class GuideMap(Transform):
    """Draw prompts as one map per class; several prompts are combined by the maximum (distances: the minimum).

    Let c be the centre of a prompt and x a voxel. The map g is

    - ``gauss``: ``exp(-½ Σ ((x - c) / sigma)²)``, the same sigma for all prompts;
    - ``ellipse``: the same with the extents of the prompt as sigma, at least ``min_sigma``;
    - ``disc``: 1 where ``Σ ((x - c) / sigma)² <= 1``, else 0;
    - ``box``: 1 inside the extents of the prompt, else 0;
    - ``edt``: Euclidean distance to the voxel of the nearest prompt, limited to ``max_distance`` and divided by it;
    - ``geodesic``: the same with the geodesic distance in the image, see :class:`GeodesicDistance`;
    - ``exp_geodesic``: ``exp(-distance / sigma)`` of the geodesic distance.

    Gaussians are drawn up to 5.3 sigmas, where they are below 1e-6. The result is ``low + (high - low) g`` with
    ``value_range = (low, high)``. A class without prompts gives ``low`` everywhere (``high`` for ``edt`` and
    ``geodesic``: the largest distance). A prompt outside of the image is handled by the rule ``outside``. With "keep",
    its Gaussian, disc or box can extend into the image, and it is not a seed of distances.

    Voxels that are not finite change nothing, except in the geodesic kinds: there paths go around them, see
    :class:`GeodesicDistance`.

    Args:
        kind: see above.
        sigma: sigma of ``gauss``, radius of ``disc`` (one number, or one per spatial axis), scale of ``exp_geodesic``.
        unit: unit of ``sigma``, ``min_sigma``, ``max_distance`` and path lengths: "voxel", or "mm" according to the
            spacing in the affine of the image, along its axes (with a sheared affine, the shapes are sheared too).
        frame: frame of the prompts: "voxel" indices of this image, or world coordinates in mm, "RAS" or "LPS". World
            prompts are mapped with the *current* affine of the image, so use this transform after all transforms that
            change the grid.
        channels: the classes of the channels, "fg" and "bg"; prompts of other classes are not drawn.
        value_range: see above.
        min_sigma: smallest sigma of ``ellipse``.
        max_distance: upper limit of ``edt`` and ``geodesic``.
        weight: weight λ of the intensities in geodesic distances, 0 to 1.
        cost: see :func:`medseg.ops.geodesic_distance`.
        sweeps: number of raster sweeps of geodesic distances, or None for exact distances.
        outside: rule for prompts outside of the image: "refuse" raises an error (a centre within one voxel of the
            border is accepted), "clip" moves them to the nearest voxel, "keep" keeps them, e.g. for images that are
            cropped after the prompts were made.

    Raises:
        ValueError: for an unknown choice, or a number that is missing or out of its range.

    Example:
        >>> image = np.zeros((1, 64, 64))
        >>> clicks = [[1, 20.0, 30.0, 0, 0], [0, 50.0, 10.0, 0, 0]]
        >>> guide = GuideMap("gauss", sigma=4.0)(image, clicks)
        >>> guide.shape
        torch.Size([2, 64, 64])
        >>> guide[:, 20, 30].tolist()
        [1.0, 0.0]
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self,
        kind: GuideKind,
        sigma: float | Sequence[float] | None = None,
        unit: Unit = "voxel",
        frame: PromptFrame = "voxel",
        channels: Sequence[str] = ("fg", "bg"),
        value_range: Sequence[float] = (0.0, 1.0),
        min_sigma: float = 2.0,
        max_distance: float | None = None,
        weight: float = 1.0,
        cost: Cost = "additive",
        sweeps: int | None = None,
        outside: OutsideRule = "refuse",
    ) -> None:
        check_frame(frame)
        check_outside(outside)
        check_in_order("channels", channels)
        for name, value, allowed in (("kind", kind, get_args(GuideKind)), ("unit", unit, ("mm", "voxel"))):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(allowed)}")
        if not channels or isinstance(channels, str) or not set(channels) <= set(_CLASSES):
            raise ValueError(f"channels is {channels!r}, expected a list of 'fg' and 'bg'")
        if np.shape(value_range) != (2,) or not all(abs(v) <= MOST_FLOAT32 for v in value_range):
            raise ValueError(f"value_range is {value_range!r}, expected two numbers (low, high)")
        _check_numbers(kind, sigma, min_sigma, max_distance)
        self.kind, self.unit, self.frame, self.outside = kind, unit, frame, outside
        self.sigma = None if sigma is None else np.atleast_1d(np.asarray(sigma, dtype=np.float64))
        self.channels, self.value_range = tuple(channels), (float(value_range[0]), float(value_range[1]))
        self.min_sigma, self.max_distance = float(min_sigma), max_distance
        reach = 80.0 * float(self.sigma[0]) if kind == "exp_geodesic" and self.sigma is not None else max_distance
        self.geodesic = GeodesicDistance(weight, cost, sweeps, min(reach or 1.0, MOST_FLOAT32), unit)

    def __call__(self, img: NdarrayOrTensor, prompts: PromptTable) -> NdarrayOrTensor:
        """Return the map ``(len(channels), *spatial)`` as float32.

        Args:
            img: image ``(C, *spatial)`` that defines the grid; the geodesic kinds also use its intensities.
            prompts: table ``(N, 1 + 2 d)``: class (1 foreground, 0 background), centre and extents along the axes; an
                array, a tensor or a list of rows.

        Raises:
            ValueError: for shapes that do not match, an image without an affine if an affine is needed, or prompts
                outside of the image that ``outside`` does not allow.
        """
        tensor = tracked_tensor(img)
        if tensor.ndim not in (3, 4):
            raise ValueError(f"image has shape {tuple(tensor.shape)}, expected (C, *spatial) with 2 or 3 spatial axes")
        moved = move_prompts(read_prompts(prompts, tensor.ndim - 1), img, self.frame, to_world=False)
        spacing = np.asarray(image_spacing(img, self.unit))
        maps = []
        for name in self.channels:
            chosen = moved.kind == _CLASSES[name]
            own = Prompts(moved.kind[chosen], moved.centre[chosen], moved.extent[chosen])
            own = place_prompts(own, tensor.shape[1:], self.outside)
            maps.append(self._map(img, tuple(tensor.shape[1:]), own, spacing))
        low, high = self.value_range
        values = low + (high - low) * np.stack(maps)
        result: NdarrayOrTensor = convert_to_dst_type(values.astype(np.float32), tensor, dtype=torch.float32)[0]
        return result

    def _map(
        self, img: NdarrayOrTensor, shape: tuple[int, ...], prompts: Prompts, spacing: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if self.kind == "ellipse":
            return draw_gaussians(shape, prompts.centre, np.maximum(prompts.extent, self.min_sigma / spacing))
        if self.kind == "box":
            return draw_boxes(shape, prompts.centre, prompts.extent)
        if self.kind in ("gauss", "disc"):
            draw = draw_gaussians if self.kind == "gauss" else draw_discs
            return draw(
                shape, prompts.centre, np.broadcast_to(self._sigmas(len(shape)) / spacing, prompts.centre.shape)
            )
        seeds = seed_mask(shape, prompts.centre if self.outside == "keep" else within(prompts.centre, shape))
        if self.kind == "edt":
            return self._euclidean(seeds, spacing)
        distance = numpy_array(self.geodesic(img, seeds[None]))[0].astype(np.float64)
        if self.kind == "geodesic":
            return distance / self.geodesic.max_distance
        return np.where(distance < self.geodesic.max_distance, np.exp(-distance / self._sigmas(1)[0]), 0.0)

    def _sigmas(self, axes: int) -> NDArray[np.float64]:
        assert self.sigma is not None  # the constructor checks this
        if len(self.sigma) not in (1, axes):
            raise ValueError(f"sigma has {len(self.sigma)} numbers, expected 1 or one for each of {axes} spatial axes")
        return self.sigma

    def _euclidean(self, seeds: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.ndimage import distance_transform_edt

        if not seeds.any():
            return np.ones(seeds.shape)
        distance: NDArray[np.float64] = distance_transform_edt(~seeds, sampling=spacing)
        return np.minimum(distance / float(self.max_distance or 1.0), 1.0)


@checked_arguments
class GuideMapd(MapTransform):
    """Dictionary form of :class:`GuideMap`: the map on the grid of ``key`` becomes the item ``key + postfix``.

    Args:
        keys: the images; they do not change.
        prompts_key: item of the table of prompts.
        kind: see :class:`GuideMap`.
        sigma: see :class:`GuideMap`.
        unit: see :class:`GuideMap`.
        frame: see :class:`GuideMap`.
        channels: see :class:`GuideMap`.
        value_range: see :class:`GuideMap`.
        min_sigma: see :class:`GuideMap`.
        max_distance: see :class:`GuideMap`.
        weight: see :class:`GuideMap`.
        cost: see :class:`GuideMap`.
        sweeps: see :class:`GuideMap`.
        outside: see :class:`GuideMap`.
        postfix: appended to the key to form the name of the map.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Raises:
        ValueError: for an empty postfix, which would overwrite the image.

    Example:
        >>> sample = {"image": np.zeros((1, 64, 64)), "clicks": [[1, 20.0, 30.0, 0, 0]]}
        >>> GuideMapd("image", "clicks", "disc", sigma=3.0)(sample)["image_guide"].sum((1, 2)).tolist()
        [29.0, 0.0]
    """

    backend = GuideMap.backend

    def __init__(
        self,
        keys: KeysCollection,
        prompts_key: Hashable,
        kind: GuideKind,
        sigma: float | Sequence[float] | None = None,
        unit: Unit = "voxel",
        frame: PromptFrame = "voxel",
        channels: Sequence[str] = ("fg", "bg"),
        value_range: Sequence[float] = (0.0, 1.0),
        min_sigma: float = 2.0,
        max_distance: float | None = None,
        weight: float = 1.0,
        cost: Cost = "additive",
        sweeps: int | None = None,
        outside: OutsideRule = "refuse",
        postfix: str = "_guide",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not postfix:
            raise ValueError("postfix is '', expected a text such as '_guide' that keeps the image")
        self.prompts_key, self.postfix = prompts_key, postfix
        self.guide = GuideMap(
            kind, sigma, unit, frame, channels, value_range, min_sigma, max_distance, weight, cost, sweeps, outside
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the maps added.

        Raises:
            KeyError: if the item of the prompts is missing.
            ValueError: if an item with the name of the output exists already.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            name = f"{key}{self.postfix}"
            if name in data:
                raise ValueError(f"item {name!r} exists already, expected a new name; choose another postfix")
            if self.prompts_key not in data:
                raise KeyError(f"no item {self.prompts_key!r} with the prompts; found {sorted(map(str, data))}")
            result[name] = self.guide(data[key], data[self.prompts_key])
        return result


def _check_numbers(
    kind: str, sigma: float | Sequence[float] | None, min_sigma: float, max_distance: float | None
) -> None:
    if kind in ("gauss", "disc", "exp_geodesic") and sigma is None:
        raise ValueError(f"sigma is None, expected a positive number for kind {kind!r}")
    if kind in ("edt", "geodesic") and max_distance is None:
        raise ValueError(f"max_distance is None, expected a positive number for kind {kind!r}")
    for name, value in (("sigma", sigma), ("min_sigma", min_sigma), ("max_distance", max_distance)):
        if value is None:
            continue
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
        fits = numbers.size and ((numbers >= LEAST_FLOAT32) & (numbers <= MOST_FLOAT32)).all()
        if not fits or (name != "sigma" and np.ndim(value)):
            raise ValueError(f"{name} is {value}, expected positive numbers, {LEAST_FLOAT32:g} to {MOST_FLOAT32:g}")
