"""Random elastic deformation of images, labels and points with the same field."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import InvertibleTransform, MapTransform, Randomizable, RandomizableTransform
from monai.utils import ensure_tuple

from medseg._arguments import checked_arguments
from medseg.transforms._checks import check_probability
from medseg.transforms.spatial.elastic_deform import (
    ElasticDeform,
    Sampling,
    as_tensor_of,
    deform_items,
    image_affine,
    key_samplings,
    push_field,
    undeform_items,
    unwarp_image,
    warp_image,
)
from medseg.transforms.spatial.elastic_field import ElasticField
from medseg.transforms.spatial.elastic_settings import ELASTIC_PRESETS, ElasticSettings

__all__ = ["RandElasticDeform", "RandElasticDeformd"]


@checked_arguments
class RandElasticDeform(RandomizableTransform, InvertibleTransform):
    """Deform an image with a random field (see :class:`ElasticDeform`).

    The last field is :attr:`field` (None if the image was not deformed). It can be used again with
    :class:`ElasticDeform`. Its size is described by ``field.contraction``, ``field.jacobian_bounds`` and
    ``field.largest_mm``; ``field.scale`` is the factor by which it was reduced to avoid folding.

    With worker processes, use ``monai.data.DataLoader``: with torch's own, all workers draw the same numbers.

    Voxels that are not finite: as in :class:`ElasticDeform`.

    Args:
        settings: a name from :data:`ELASTIC_PRESETS` ("unet", "unet3d", "vnet") or :class:`ElasticSettings`.
        prob: probability of a deformation.
        mode: "bilinear" for images, "nearest" for labels.
        padding_mode: outside of the image, "border" repeats the border voxels and "constant" pads with ``fill``.
        fill: value outside of the image for "constant".
        fold_limit: fields with a larger ``contraction`` are scaled down to this value, so that the image cannot fold
            and points can be moved; above 0 and below 1. None does not scale fields.

    Raises:
        ValueError: for an unknown preset, mode or limit.

    Example:
        >>> image = np.random.normal(0, 1, (1, 32, 32, 16)).astype(np.float32)
        >>> deform = RandElasticDeform(ElasticSettings(std=2.0, spacing=12.0), prob=1.0).set_random_state(0)
        >>> deform(image).shape
        torch.Size([1, 32, 32, 16])
        >>> deform.field.contraction <= 0.9
        True
    """

    backend = ElasticDeform.backend

    def __init__(
        self,
        settings: str | ElasticSettings = "unet3d",
        prob: float = 0.1,
        mode: str = "bilinear",
        padding_mode: str = "border",
        fill: float = 0.0,
        fold_limit: float | None = 0.9,
    ) -> None:
        RandomizableTransform.__init__(self, check_probability(prob))
        if not isinstance(settings, ElasticSettings) and settings not in ELASTIC_PRESETS:
            raise ValueError(
                f"settings is {settings!r}, expected ElasticSettings or one of {', '.join(ELASTIC_PRESETS)}"
            )
        if fold_limit is not None and not 0 < fold_limit < 1:
            raise ValueError(f"fold_limit is {fold_limit}, expected a number above 0 and below 1, or None")
        self.settings = ELASTIC_PRESETS[settings] if isinstance(settings, str) else settings
        self.sampling = Sampling(mode, padding_mode, fill)
        self.fold_limit = fold_limit
        self.field: ElasticField | None = None

    def randomize(self, data: Any = None) -> None:
        """Draw whether the image is deformed, and the field.

        Args:
            data: the channel-first image that the field is drawn for.
        """
        super().randomize(None)
        self.field = None
        if self._do_transform:
            drawn = self.settings.draw(self.R, tuple(data.shape[1:]), image_affine(data))
            self.field = drawn if self.fold_limit is None else drawn.limited(self.fold_limit)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Return the deformed image as a tensor of the same type.

        Args:
            img: channel-first ``(C, *spatial)`` with 2 or 3 spatial axes; it is not modified.
            randomize: True draws a new field; False uses the last one again.
        """
        check_image(img)
        if randomize:
            self.randomize(img)
        result = as_tensor_of(img) if self.field is None else warp_image(img, self.field, self.sampling)
        push_field(self, result, self.field, image_affine(img), self.sampling)
        return result

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Approximate inverse of the last deformation of a MetaTensor, see :class:`ElasticDeform`."""
        return unwarp_image(self, data)


@checked_arguments
class RandElasticDeformd(Randomizable, MapTransform, InvertibleTransform):
    """Dictionary form of :class:`RandElasticDeform`: all keys are deformed with the same
    field, which is drawn for the grid of the first key.

    Args:
        keys: images and labels.
        settings: see :class:`RandElasticDeform`.
        prob: see :class:`RandElasticDeform`.
        mode: "bilinear" or "nearest", one for all keys or one per key.
        padding_mode: "border" or "constant", one for all keys or one per key.
        fill: value outside for "constant", one for all keys or one for each.
        fold_limit: see :class:`RandElasticDeform`.
        point_keys: items of points or clicks, given as voxel positions in the image of the first of ``keys``.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> sample = {"image": np.zeros((1, 32, 32, 16), np.float32), "label": np.zeros((1, 32, 32, 16), np.uint8)}
        >>> deform = RandElasticDeformd(["image", "label"], "unet3d", prob=1.0, mode=["bilinear", "nearest"])
        >>> deform.set_random_state(0)(sample)["label"].dtype
        torch.uint8
    """

    backend = ElasticDeform.backend

    def __init__(
        self,
        keys: KeysCollection,
        settings: str | ElasticSettings = "unet3d",
        prob: float = 0.1,
        mode: str | Sequence[str] = "bilinear",
        padding_mode: str | Sequence[str] = "border",
        fill: float | Sequence[float] = 0.0,
        fold_limit: float | None = 0.9,
        point_keys: KeysCollection = (),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.transform = RandElasticDeform(settings, prob, fold_limit=fold_limit)
        self.samplings = key_samplings(self.keys, mode, padding_mode, fill)
        self.point_keys = ensure_tuple(point_keys)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandElasticDeformd:
        """Set the seed of the random numbers and return this transform."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def randomize(self, data: Any = None) -> None:
        """Draw for the given image."""
        self.transform.randomize(data)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which all keys are deformed with the same field."""
        first = next(iter(self.key_iterator(data)), None)
        if first is None:
            return dict(data)
        check_image(data[first])
        self.randomize(data[first])
        return deform_items(self, self.transform.field, data, self.samplings, self.point_keys)

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the approximate inverse of the last deformation of every key."""
        return undeform_items(self, data, self.point_keys)


def check_image(img: Any) -> None:
    """Raises ValueError unless the image is channel-first with two or three spatial axes."""
    shape = np.shape(img)
    if len(shape) not in (3, 4) or 0 in shape[1:]:
        raise ValueError(f"image has shape {tuple(shape)}, expected channel-first (C, y, x) or (C, z, y, x)")
