"""Geodesic distance of every voxel to the nearest seed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type

from medseg._arguments import checked_arguments
from medseg.geometry import check_whole_labels, spacing_of
from medseg.ops.geodesic_distance import COSTS, Cost, geodesic_distance
from medseg.transforms._arrays import plain_tensor, tracked_tensor
from medseg.transforms._checks import LEAST_FLOAT32, MOST_FLOAT32, whole_number
from medseg.transforms.spatial.points import affine_of

__all__ = ["GeodesicDistance", "GeodesicDistanced", "Unit", "image_spacing"]

Unit = Literal["mm", "voxel"]


def image_spacing(image: NdarrayOrTensor, unit: Unit, what: str = "image") -> tuple[float, ...]:
    """Voxel size along every spatial axis of a channel-first image: from its affine for mm, 1 for voxels.

    Raises:
        ValueError: for "mm" and an image without an affine.
    """
    axes = image.ndim - 1
    if unit == "voxel":
        return (1.0,) * axes
    if not isinstance(image, MetaTensor):
        raise ValueError(
            f"{what} is a {type(image).__name__} without spacing, expected a MetaTensor (as LoadImage makes), or "
            "unit 'voxel'"
        )
    return tuple(float(s) for s in spacing_of(affine_of(image))[:axes])


@checked_arguments
class GeodesicDistance(Transform):
    """Length of the shortest path from a voxel to the nearest seed; steps across intensity edges are long.

    A wrapper of :func:`medseg.ops.geodesic_distance`, which defines the two costs. The distances depend on the scale of
    the intensities, so normalise the image first. Without seeds the map is ``max_distance`` everywhere.

    A voxel that is not finite is reached by no path: it gets ``max_distance``, paths go around it, and only voxels
    farther from the seeds than it change.

    Args:
        weight: weight λ of the intensities, from 0 (only path length) to 1 (only intensities).
        cost: "additive" (as FastGeodis) or "harmonic" (as GeodisTK, DeepIGeoS).
        sweeps: number of raster sweeps over all axes, or None for the exact map.
        max_distance: longer distances are set to this value, so that the map is finite.
        unit: unit of path lengths, "mm" according to the affine of the image, or "voxel".

    Raises:
        ValueError: for an unknown choice or a number out of its range.

    Example:
        >>> image = np.array([[[0.0, 0.0, 5.0, 5.0]]])
        >>> seeds = np.array([[[1, 0, 0, 0]]])
        >>> GeodesicDistance(weight=1.0, unit="voxel")(image, seeds).tolist()
        [[[0.0, 0.0, 5.0, 5.0]]]
        >>> GeodesicDistance(weight=0.0, unit="voxel")(image, seeds).tolist()
        [[[0.0, 1.0, 2.0, 3.0]]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        weight: float = 1.0,
        cost: Cost = "additive",
        sweeps: int | None = None,
        max_distance: float = 1e3,
        unit: Unit = "mm",
    ) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"weight is {weight}, expected 0 (path length) to 1 (intensities)")
        for name, value, allowed in (("cost", cost, tuple(COSTS)), ("unit", unit, ("mm", "voxel"))):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, expected {allowed[0]!r} or {allowed[1]!r}")
        sweeps = None if sweeps is None else whole_number("sweeps", sweeps)
        if sweeps is not None and sweeps < 1:
            raise ValueError(f"sweeps is {sweeps}, expected at least 1, or None for the exact map")
        if not LEAST_FLOAT32 <= max_distance <= MOST_FLOAT32:
            span = f"{LEAST_FLOAT32:g} to {MOST_FLOAT32:g}"
            raise ValueError(f"max_distance is {max_distance}, expected a positive number, {span}")
        self.weight, self.cost, self.sweeps = float(weight), cost, sweeps
        self.max_distance, self.unit = float(max_distance), unit

    def __call__(self, img: NdarrayOrTensor, seeds: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the distances ``(K, *spatial)`` as float32.

        Args:
            img: image ``(C, *spatial)`` with two or three spatial axes; the norm of a step is taken over its channels.
            seeds: ``(K, *spatial)``, K sets of seeds; whole numbers; every value that is not 0 is a seed.

        Raises:
            ValueError: for shapes that do not match, seeds that are not whole numbers, or ``unit="mm"`` and an image
                without an affine.
        """
        tensor, marked = tracked_tensor(img), plain_tensor(seeds, "seeds")
        if tensor.ndim not in (3, 4) or marked.ndim != tensor.ndim or marked.shape[1:] != tensor.shape[1:]:
            raise ValueError(
                f"image has shape {tuple(tensor.shape)} and seeds {tuple(marked.shape)}, expected (C, *spatial) and "
                "(K, *spatial) with the same 2 or 3 spatial axes"
            )
        check_whole_labels(marked, "seeds")
        plain = plain_tensor(tensor).float()
        distance = geodesic_distance(
            plain[None],
            (marked != 0).to(plain.device)[None],
            self.weight,
            image_spacing(img, self.unit),
            self.cost,
            self.sweeps,
            self.max_distance,
        )[0]
        result: NdarrayOrTensor = convert_to_dst_type(distance, tensor, dtype=torch.float32)[0]
        return result


@checked_arguments
class GeodesicDistanced(MapTransform):
    """Dictionary form of :class:`GeodesicDistance`: the map of ``key`` becomes the item ``key + postfix``.

    Args:
        keys: the images; they do not change.
        seeds_key: item of the sets of seeds ``(K, *spatial)``.
        weight: see :class:`GeodesicDistance`.
        cost: see :class:`GeodesicDistance`.
        sweeps: see :class:`GeodesicDistance`.
        max_distance: see :class:`GeodesicDistance`.
        unit: see :class:`GeodesicDistance`.
        postfix: appended to the key to form the name of the map.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Raises:
        ValueError: for an empty postfix, which would overwrite the image.

    Example:
        >>> sample = {"image": np.array([[[0.0, 0.0, 5.0, 5.0]]]), "seeds": np.array([[[1, 0, 0, 0]]])}
        >>> GeodesicDistanced("image", "seeds", unit="voxel")(sample)["image_geodesic"].tolist()
        [[[0.0, 0.0, 5.0, 5.0]]]
    """

    backend = GeodesicDistance.backend

    def __init__(
        self,
        keys: KeysCollection,
        seeds_key: Hashable,
        weight: float = 1.0,
        cost: Cost = "additive",
        sweeps: int | None = None,
        max_distance: float = 1e3,
        unit: Unit = "mm",
        postfix: str = "_geodesic",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not postfix:
            raise ValueError("postfix is '', expected a text such as '_geodesic' that keeps the image")
        self.seeds_key, self.postfix = seeds_key, postfix
        self.distance = GeodesicDistance(weight, cost, sweeps, max_distance, unit)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the maps added.

        Raises:
            KeyError: if the item of the seeds is missing.
            ValueError: if an item with the name of the output exists already.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            name = f"{key}{self.postfix}"
            if name in data:
                raise ValueError(f"item {name!r} exists already, expected a new name; choose another postfix")
            if self.seeds_key not in data:
                raise KeyError(f"no item {self.seeds_key!r} with the seeds; found {sorted(map(str, data))}")
            result[name] = self.distance(data[key], data[self.seeds_key])
        return result
