"""Keep the largest connected component of a mask, looking only at the box around the mask."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from numpy.typing import NDArray
from scipy import ndimage

from medseg.geometry import component_sizes
from medseg.transforms._arrays import numpy_array, tracked_tensor

__all__ = ["LargestComponent", "LargestComponentd"]


class LargestComponent(Transform):
    """Set all but the largest component of the voxels above 0 to 0: MONAI's ``KeepLargestConnectedComponent``.

    For a mask of 0 and 1 the result is the one of MONAI's transform with ``applied_labels=1, is_onehot=False``,
    channel by channel: neighbours touch by face, edge or corner. Of equal components the first is kept (MONAI does not
    say which one it keeps). NaN is not above 0. Only the box around the mask is labelled, which saves time and memory
    where the target is small.

    Example:
        >>> mask = torch.tensor([[[1, 0, 1, 1], [1, 0, 1, 1]]], dtype=torch.uint8)
        >>> LargestComponent()(mask).tolist()
        [[[0, 0, 1, 1], [0, 0, 1, 1]]]
    """

    backend = [TransformBackends.NUMPY]

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the mask with its largest components alone.

        Args:
            img: ``[C, *spatial]``, any real type; voxels above 0 belong to the mask. It is not modified.

        Returns:
            The same type and shape; a MetaTensor keeps its meta data.
        """
        image = tracked_tensor(img, "mask")
        array = numpy_array(image, "mask").copy()
        for channel in array:
            _keep_largest(channel)
        result = torch.from_numpy(array).to(device=image.device, dtype=image.dtype)
        return MetaTensor(result).copy_meta_from(image) if isinstance(image, MetaTensor) else result


class LargestComponentd(MapTransform):
    """Dictionary form of :class:`LargestComponent`.

    Args:
        keys: the masks.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> case = {"pred": torch.tensor([[1, 0, 1, 1]])}
        >>> LargestComponentd("pred")(case)["pred"].tolist()
        [[0, 0, 1, 1]]
    """

    backend = LargestComponent.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.largest = LargestComponent()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which every key's mask has its largest components alone."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.largest(result[key])
        return result


def _keep_largest(channel: NDArray[Any]) -> None:
    """Change the channel in place."""
    box = _box(channel)
    if box is None:
        return
    part = channel[box]
    labels, count = ndimage.label(part > 0, structure=np.ones((3,) * part.ndim, dtype=bool))
    if count < 2:
        return
    part[labels != 1 + int(component_sizes(labels, count).argmax())] = 0


def _box(channel: NDArray[Any]) -> tuple[slice, ...] | None:
    inside = channel > 0
    box = []
    for axis in range(inside.ndim):
        touched = np.flatnonzero(inside.any(axis=tuple(a for a in range(inside.ndim) if a != axis)))
        if not len(touched):
            return None
        box.append(slice(int(touched[0]), int(touched[-1]) + 1))
    return tuple(box)
