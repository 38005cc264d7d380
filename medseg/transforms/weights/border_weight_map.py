"""Loss weights per voxel that balance the classes and are high in gaps between neighbouring objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type
from numpy.typing import NDArray

from medseg._arguments import checked_arguments
from medseg.geometry import check_whole_labels, spacing_of
from medseg.transforms._arrays import numpy_array, tracked_tensor
from medseg.transforms.spatial.points import affine_of
from medseg.transforms.weights._side_output import SideOutput

__all__ = ["BorderWeightMap", "BorderWeightMapd"]

_REACH_SIGMAS = 6.1
"""exp(-6.1^2 / 2) is below 1e-8: objects farther away than this many sigmas do not change a float32 weight."""

_MOST_WEIGHT = 1e30
"""Weights are float32."""

ClassWeights = Literal["balanced"] | Sequence[float] | None


@checked_arguments
class BorderWeightMap(Transform):
    """The weight map of U-Net: ``w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))``.

    ``d1`` and ``d2`` are the distances of a voxel to the nearest and the second nearest object (0 inside an object).
    The second term is therefore large in narrow gaps and along touching borders; with fewer than two objects it is 0.
    ``w_c`` is the weight of the class of the voxel. Source: Ronneberger, Fischer and Brox, U-Net, 2015, equation 2.

    A label that is not finite is refused.

    Args:
        w0: height of the border term.
        sigma: width of the border term, in voxels, or in mm with ``unit="mm"``.
        class_weights: None for 1 everywhere; "balanced" for ``N / (K n_c)`` with N voxels, K classes in the label and
            n_c voxels of the class (the mean of w_c is then 1, and the weight of a target of few voxels is very
            large); or one weight per class 0, 1, 2, ...
        objects: "components": the label contains classes, and every connected component of a class (8 or 26
            neighbours) is an object; "instances": every value above 0 is one object, and the classes are 0 and 1.
        background_only: True sets the border term to 0 inside objects.
        unit: unit of the distances, "voxel", or "mm" according to the spacing in the affine of the label.

    Raises:
        ValueError: for a negative ``w0``, a ``sigma`` that is not positive, or an unknown choice.

    Example:
        >>> label = np.zeros((1, 1, 9), np.uint8)
        >>> label[..., :3] = label[..., 5:] = 1
        >>> BorderWeightMap(w0=10, sigma=2, class_weights=None)(label)[0, 0].round(decimals=2)
        metatensor([1.4400, 2.3500, 4.2500, 4.2500, 4.2500, 4.2500, 2.3500, 1.4400, 1.1100])
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self,
        w0: float = 10.0,
        sigma: float = 5.0,
        class_weights: ClassWeights = "balanced",
        objects: Literal["components", "instances"] = "components",
        background_only: bool = False,
        unit: Literal["voxel", "mm"] = "voxel",
    ) -> None:
        if not 0 <= w0 <= _MOST_WEIGHT or not 0 < sigma < np.inf:
            raise ValueError(
                f"w0 is {w0} and sigma {sigma}, expected w0 from 0 and sigma above 0, w0 up to {_MOST_WEIGHT:g} and "
                "sigma finite"
            )
        for name, value, allowed in (
            ("objects", objects, ("components", "instances")),
            ("unit", unit, ("voxel", "mm")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, expected {allowed[0]!r} or {allowed[1]!r}")
        self.w0, self.sigma = float(w0), float(sigma)
        self.class_weights = _check_class_weights(class_weights)
        self.objects, self.unit = objects, unit
        self.background_only = background_only

    def __call__(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the weights ``(1, *spatial)`` as float32.

        Args:
            label: label map ``(1, *spatial)`` of whole numbers from 0, two or three spatial axes.

        Raises:
            ValueError: for another shape, values that are not labels, a class without a weight, or ``unit="mm"`` and a
                label without an affine.
        """
        tensor = tracked_tensor(label, "label")
        values = _label_values(numpy_array(tensor))
        weights = self._class_term(values) + self._border_term(values, self._spacing(label, values.ndim))
        return convert_to_dst_type(weights[None].astype(np.float32), tensor, dtype=torch.float32)[0]

    def _spacing(self, label: NdarrayOrTensor, ndim: int) -> NDArray[np.float64]:
        if self.unit == "voxel":
            return np.ones(ndim)
        if not isinstance(label, MetaTensor):
            raise ValueError(f"label is a {type(label).__name__} without spacing, expected a MetaTensor for unit 'mm'")
        return spacing_of(affine_of(label))[:ndim]

    def _class_term(self, values: NDArray[np.int64]) -> NDArray[np.float64]:
        if self.class_weights is None:
            return np.ones(values.shape)
        classes = values if self.objects == "components" else (values > 0).astype(np.int64)
        counts = np.bincount(classes.ravel())
        if self.class_weights == "balanced":
            present = np.count_nonzero(counts)
            table = classes.size / (present * np.maximum(counts, 1))
        else:
            table = np.asarray(self.class_weights, dtype=np.float64)
            if len(counts) > len(table):
                raise ValueError(
                    f"label holds class {len(counts) - 1}, but class_weights has {len(table)} entries, expected one "
                    "for every class from 0"
                )
        chosen: NDArray[np.float64] = table[classes]
        return chosen

    def _border_term(self, values: NDArray[np.int64], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = _two_nearest(self._objects(values), spacing, _REACH_SIGMAS * self.sigma)
        # In float64, and divided before the square: no sigma makes infinity over infinity of it.
        term = self.w0 * np.exp(-(((first.astype(np.float64) + second) / self.sigma) ** 2) / 2)
        return np.where(values > 0, 0.0, term) if self.background_only else term

    def _objects(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Objects with consecutive numbers from 1."""
        from skimage.measure import label as connected
        from skimage.segmentation import relabel_sequential

        numbered: NDArray[np.int64]
        if self.objects == "components":
            numbered = connected(values, background=0, connectivity=values.ndim)
        else:
            numbered = relabel_sequential(values)[0]
        return numbered


@checked_arguments
class BorderWeightMapd(SideOutput):
    """Dictionary form of :class:`BorderWeightMap`: the weights of ``key`` become the item ``key + postfix``.

    Args:
        keys: the label maps; they do not change.
        w0: see :class:`BorderWeightMap`.
        sigma: see :class:`BorderWeightMap`.
        class_weights: see :class:`BorderWeightMap`.
        objects: see :class:`BorderWeightMap`.
        background_only: see :class:`BorderWeightMap`.
        unit: see :class:`BorderWeightMap`.
        postfix: appended to the key to form the name of the weights.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> label = np.zeros((1, 8, 8), np.uint8)
        >>> label[:, :2] = 1
        >>> BorderWeightMapd("label")({"label": label})["label_weight"].mean().round(decimals=4)
        metatensor(1.)
    """

    backend = BorderWeightMap.backend

    def __init__(
        self,
        keys: KeysCollection,
        w0: float = 10.0,
        sigma: float = 5.0,
        class_weights: ClassWeights = "balanced",
        objects: Literal["components", "instances"] = "components",
        background_only: bool = False,
        unit: Literal["voxel", "mm"] = "voxel",
        postfix: str = "_weight",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, postfix, allow_missing_keys)
        self.weights = BorderWeightMap(w0, sigma, class_weights, objects, background_only, unit)

    def derive(self, label: Any, first: bool) -> Any:
        """The weights of one label."""
        return self.weights(label)


def _check_class_weights(weights: ClassWeights) -> ClassWeights:
    if weights is None or weights == "balanced":
        return weights
    if isinstance(weights, str) or not len(weights) or not all(0 <= w <= _MOST_WEIGHT for w in weights):
        raise ValueError(
            f"class_weights is {weights!r}, expected None, 'balanced' or one number from 0 for every class, up to "
            f"{_MOST_WEIGHT:g}"
        )
    return tuple(float(weight) for weight in weights)


def _label_values(array: NDArray[Any]) -> NDArray[np.int64]:
    if array.ndim not in (3, 4) or array.shape[0] != 1 or 0 in array.shape:
        raise ValueError(
            f"label has shape {array.shape}, expected one channel (1, *spatial) with 2 or 3 spatial axes, none of them "
            "empty"
        )
    check_whole_labels(array, "label")
    values = array[0].astype(np.int64)
    if values.min(initial=0) < 0:
        raise ValueError(f"label contains {values.min()}, expected a label map of whole numbers from 0")
    return values


def _two_nearest(
    objects: NDArray[np.int64], spacing: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distances to the nearest and the second nearest object, exact up to ``reach``, infinite beyond.

    The distance transform of an object is computed in its bounding box, extended by the reach, not in the whole volume.
    This is much faster if there are many small objects.
    """
    from scipy.ndimage import distance_transform_edt, find_objects

    first, second = (np.full(objects.shape, np.inf, np.float32) for _ in range(2))
    margins = np.ceil(np.minimum(reach / spacing, max(objects.shape, default=0))).astype(int)
    for number, box in enumerate(find_objects(objects), start=1):
        around = tuple(
            slice(max(0, side.start - margin), side.stop + margin) for side, margin in zip(box, margins, strict=True)
        )
        distance = distance_transform_edt(objects[around] != number, sampling=spacing).astype(np.float32)
        distance[distance > reach] = np.inf
        nearest = first[around]
        second[around] = np.minimum(second[around], np.maximum(nearest, distance))
        first[around] = np.minimum(nearest, distance)
    return first, second
