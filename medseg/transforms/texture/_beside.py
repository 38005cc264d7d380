"""Shared parts of the texture transforms: conversion of images and masks, and dictionary forms that add an item."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from medseg.geometry import spacing_of
from medseg.transforms._arrays import plain_tensor, tracked_tensor, widened
from medseg.transforms.spatial.points import affine_of

__all__ = ["AddsBeside", "as_image", "as_mask", "as_vectors", "check_alike", "check_mask", "spacing_in"]


def as_image(img: NdarrayOrTensor) -> tuple[Any, Tensor]:
    """The image as MONAI tracks it, and as a plain float32 (or float64) tensor ``(C, *spatial)``.

    Raises:
        ValueError: unless it has two or three spatial axes and is not empty.
    """
    tracked = tracked_tensor(img)
    plain = plain_tensor(tracked)
    if plain.ndim not in (3, 4) or 0 in plain.shape:
        raise ValueError(f"image has shape {tuple(plain.shape)}, expected (C, H, W) or (C, D, H, W), none of them 0")
    return tracked, widened(plain)


def as_mask(mask: NdarrayOrTensor | None, image: Tensor) -> Tensor | None:
    """A mask ``(1, *spatial)`` or ``(C, *spatial)`` as bool, or None.

    Raises:
        ValueError: for another shape, or values other than 0 and 1.
    """
    if mask is None:
        return None
    found = plain_tensor(mask, "mask").to(image.device)
    if tuple(found.shape) not in (tuple(image.shape), (1, *image.shape[1:])):
        raise ValueError(f"mask has shape {tuple(found.shape)}, expected {(1, *image.shape[1:])} as the image")
    check_mask(found, "mask holds", "expected a mask; threshold or select labels first")
    return found.bool()


def check_mask(mask: Tensor, what: str, expected: str) -> None:
    """Raises ValueError if a mask holds another value than 0 and 1, with the value, its index and what is expected."""
    wrong = (mask != 0) & (mask != 1)
    if bool(wrong.any()):
        index = tuple(wrong.nonzero()[0].tolist())
        value = float(mask[index])
        raise ValueError(f"{what} values other than 0 and 1, such as {value:g} at {list(index)}, {expected}")


def check_alike(img: Any, regions: Any) -> None:
    """Raises ValueError if an image and its regions do not have the same number of pending lazy transforms.

    Their voxels then do not correspond to each other, whatever their shapes.
    """
    if not (isinstance(img, MetaTensor) and isinstance(regions, MetaTensor)):
        return
    image, other = len(img.pending_operations), len(regions.pending_operations)
    if image != other:
        raise ValueError(
            f"image has {image} lazy transform(s) pending, its regions {other}; expected as many: name both keys in "
            "every lazy transform, or apply them first"
        )


def as_vectors(values: Tensor, tracked: Any, dtype: torch.dtype) -> NdarrayOrTensor:
    """Numbers that describe an image, as a tensor of the same kind, without its applied and pending transforms."""
    found: NdarrayOrTensor = convert_to_dst_type(values, tracked, dtype=dtype)[0]
    if isinstance(found, MetaTensor):
        found.clear_pending_operations()
        found.applied_operations = []
    return found


def spacing_in(unit: str, img: NdarrayOrTensor, dims: int) -> list[float]:
    """Size of a voxel along each axis in the given unit: 1 for "voxel", the spacing in the affine for "mm".

    Raises:
        ValueError: for "mm" and an image without an affine.
    """
    if unit == "voxel":
        return [1.0] * dims
    if not isinstance(img, MetaTensor):
        raise ValueError(f"image is a {type(img).__name__} without spacing, expected a MetaTensor for unit 'mm'")
    return [float(v) for v in np.asarray(spacing_of(affine_of(img)))[:dims]]


class AddsBeside(MapTransform):
    """Dictionary form of a transform of an image and optionally a second item; the result is ``key + postfix``.

    A subclass that adds more items lists their endings in ``further`` and also returns them from ``derive``.

    Args:
        keys: the images; they do not change.
        transform: the array form.
        postfix: appended to the key to form the name of the result.
        second_key: item of the mask or regions, the second argument of the array form; None for none.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Raises:
        ValueError: for an empty postfix, which would overwrite the image.
    """

    further: tuple[str, ...] = ()

    def __init__(
        self, keys: KeysCollection, transform: Any, postfix: str, second_key: str | None, allow_missing_keys: bool
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not postfix:
            raise ValueError("postfix is '', expected a text such as '_texture' that keeps the image")
        self.transform, self.postfix, self.second_key = transform, postfix, second_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the results added.

        Raises:
            KeyError: if the second item is missing.
            ValueError: if an item with the name of the output exists already.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            names = [f"{key}{self.postfix}{ending}" for ending in ("", *self.further)]
            for name in names:
                if name in data:
                    raise ValueError(f"item {name!r} exists already, expected a new name; choose another postfix")
            second = () if self.second_key is None else (result[self.second_key],)
            result.update(zip(names, self.derive(result[key], *second), strict=True))
        return result

    def derive(self, image: Any, *second: Any) -> tuple[Any, ...]:
        """The result for one image, and then the further items."""
        return (self.transform(image, *second),)
