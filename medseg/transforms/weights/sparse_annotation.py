"""Masks of the annotated voxels, for training from a few annotated slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Randomizable, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from numpy.typing import NDArray

from medseg._arguments import checked_arguments
from medseg.geometry import check_whole_labels
from medseg.transforms._arrays import numpy_array, tracked_tensor
from medseg.transforms._checks import whole_number
from medseg.transforms.weights._side_output import SideOutput

__all__ = [
    "RandSparseAnnotationMask",
    "RandSparseAnnotationMaskd",
    "SparseAnnotationMask",
    "SparseAnnotationMaskd",
]

Slices = Mapping[int, Sequence[int]]


@checked_arguments
class SparseAnnotationMask(Transform):
    """1 where a label map is annotated, 0 elsewhere: the loss weights for training from sparse annotation.

    With a loss that is multiplied by this mask, unlabelled voxels do not influence the training. Source: Cicek et al.,
    3D U-Net, 2016: a few annotated slices of a volume are enough; all other voxels get weight 0.

    Give the value that marks unlabelled voxels, or the annotated slices, or both (a voxel must then be on such a slice
    *and* be labelled). The label itself is not changed. If its unlabelled value is not a valid class for a one-hot
    encoding, replace it with :class:`medseg.transforms.MapLabels`.

    A label that is not finite is refused.

    Args:
        unlabelled: value of the unlabelled voxels, e.g. 255.
        slices: indices of the annotated slices by spatial axis, e.g. ``{2: [10, 40], 0: [128]}``; a voxel on any of
            them is annotated. Negative indices count from the end.

    Raises:
        ValueError: if neither is given, there is no slice, or a number is not whole.

    Example:
        >>> label = np.array([[[0, 1, 255, 255]]])
        >>> SparseAnnotationMask(unlabelled=255)(label).tolist()
        [[[1.0, 1.0, 0.0, 0.0]]]
        >>> SparseAnnotationMask(slices={1: [0, -1]})(label).tolist()
        [[[1.0, 0.0, 0.0, 1.0]]]
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, unlabelled: int | None = None, slices: Mapping[int | str, Sequence[int]] | None = None) -> None:
        if unlabelled is None and slices is None:
            raise ValueError("unlabelled and slices are both None, expected the unlabelled value or annotated slices")
        if slices is not None and not any(len(indices) for indices in slices.values()):
            raise ValueError(f"slices is {dict(slices)}, expected at least one slice index, e.g. {{2: [10, 40]}}")
        self.unlabelled = None if unlabelled is None else whole_number("unlabelled", unlabelled)
        # Keys may be strings, because keys are strings in JSON.
        self.slices: dict[int, list[int]] | None = None
        if slices is not None:
            self.slices = {
                whole_number("axis in slices", axis): [whole_number("index in slices", index) for index in indices]
                for axis, indices in slices.items()
            }

    def __call__(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the mask ``(1, *spatial)`` as float32.

        Args:
            label: label map ``(1, *spatial)``.

        Raises:
            ValueError: for more than one channel, values that are not whole numbers, or an axis or slice that the label
                does not have.
        """
        tensor = tracked_tensor(label, "label")
        array = _one_channel(tensor)
        mask = np.ones(array.shape, bool) if self.slices is None else _slice_mask(array.shape, self.slices)
        if self.unlabelled is not None:
            mask &= array != self.unlabelled
        return _as_mask(mask, tensor)


@checked_arguments
class SparseAnnotationMaskd(SideOutput):
    """Dictionary form of :class:`SparseAnnotationMask`: the mask of ``key`` becomes the item ``key + postfix``.

    Args:
        keys: the label maps; they do not change.
        unlabelled: see :class:`SparseAnnotationMask`.
        slices: see :class:`SparseAnnotationMask`.
        postfix: appended to the key to form the name of the mask.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> label = np.array([[[0, 1, 255, 255]]])
        >>> SparseAnnotationMaskd("label", unlabelled=255)({"label": label})["label_annotated"].tolist()
        [[[1.0, 1.0, 0.0, 0.0]]]
    """

    backend = SparseAnnotationMask.backend

    def __init__(
        self,
        keys: KeysCollection,
        unlabelled: int | None = None,
        slices: Mapping[int | str, Sequence[int]] | None = None,
        postfix: str = "_annotated",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, postfix, allow_missing_keys)
        self.mask = SparseAnnotationMask(unlabelled, slices)

    def derive(self, label: Any, first: bool) -> Any:
        """The mask of one label."""
        return self.mask(label)


@checked_arguments
class RandSparseAnnotationMask(Randomizable, Transform):
    """Simulate that only a few random slices of a dense label map are annotated.

    Use it to find out how many annotated slices are enough. Slices are drawn without repetition. If ``nonempty`` is
    True and there are fewer slices with foreground than requested, all of these are taken.

    With worker processes, use ``monai.data.DataLoader``: with torch's own, all workers draw the same numbers.

    A label that is not finite is refused.

    Args:
        count: number of slices per spatial axis, e.g. ``(1, 1, 3)``; one number means slices along the last axis
            only.
        nonempty: True draws only from slices with foreground (values above 0), if there are any.

    Raises:
        ValueError: for negative numbers, or 0 for every axis.

    Example:
        >>> label = np.ones((1, 16, 16, 16), np.uint8)
        >>> mask = RandSparseAnnotationMask(count=(0, 0, 2)).set_random_state(0)(label)
        >>> int(mask[0, 0, 0].sum())
        2
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, count: int | Sequence[int], nonempty: bool = True) -> None:
        counts = tuple(whole_number("count", number) for number in np.atleast_1d(np.asarray(count)).tolist())
        if not counts or min(counts) < 0 or max(counts) == 0:
            raise ValueError(f"count is {count}, expected numbers of slices from 0, at least one above 0")
        self.count = counts if np.ndim(count) else counts[0]
        self.nonempty = nonempty
        self.slices: dict[int, list[int]] = {}

    def randomize(self, data: NDArray[Any]) -> None:
        """Draw the slices for a label array without channel axis.

        Raises:
            ValueError: for a count with another number of axes, or more slices than an axis has.
        """
        counts = [0] * (data.ndim - 1) + [self.count] if isinstance(self.count, int) else list(self.count)
        if len(counts) != data.ndim:
            raise ValueError(f"count names {len(counts)} axes, but the label has {data.ndim} spatial axes")
        self.slices = {}
        for axis, number in enumerate(counts):
            if number > data.shape[axis]:
                raise ValueError(f"count asks for {number} slices along axis {axis}, which has {data.shape[axis]}")
            candidates = np.arange(data.shape[axis])
            if self.nonempty:
                filled = np.flatnonzero((data > 0).any(axis=tuple(a for a in range(data.ndim) if a != axis)))
                candidates = filled if len(filled) else candidates
            drawn = self.R.choice(candidates, size=min(number, len(candidates)), replace=False)
            self.slices[axis] = sorted(int(index) for index in drawn)

    def __call__(self, label: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Return the mask ``(1, *spatial)`` as float32.

        Args:
            label: dense label map ``(1, *spatial)``.
            randomize: True draws new slices; False uses the last ones again.
        """
        tensor = tracked_tensor(label, "label")
        array = _one_channel(tensor)
        if randomize:
            self.randomize(array)
        return _as_mask(_slice_mask(array.shape, self.slices), tensor)


@checked_arguments
class RandSparseAnnotationMaskd(Randomizable, SideOutput):
    """Dictionary form of :class:`RandSparseAnnotationMask`: the slices are drawn for the label
    of the first key and used for all keys.

    Args:
        keys: the label maps; they do not change.
        count: see :class:`RandSparseAnnotationMask`.
        nonempty: see :class:`RandSparseAnnotationMask`.
        postfix: appended to the key to form the name of the mask.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> label = np.ones((1, 16, 16, 16), np.uint8)
        >>> mask = RandSparseAnnotationMaskd("label", count=2).set_random_state(0)({"label": label})["label_annotated"]
        >>> int(mask[0, 0, 0].sum())
        2
    """

    backend = RandSparseAnnotationMask.backend

    def __init__(
        self,
        keys: KeysCollection,
        count: int | Sequence[int],
        nonempty: bool = True,
        postfix: str = "_annotated",
        allow_missing_keys: bool = False,
    ) -> None:
        SideOutput.__init__(self, keys, postfix, allow_missing_keys)
        self.mask = RandSparseAnnotationMask(count, nonempty)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandSparseAnnotationMaskd:
        """Set the seed of the random numbers and return this transform."""
        super().set_random_state(seed, state)
        self.mask.set_random_state(seed, state)
        return self

    def derive(self, label: Any, first: bool) -> Any:
        """The mask of one label; slices are drawn only for the first key of a sample."""
        return self.mask(label, randomize=first)


def _one_channel(label: torch.Tensor) -> NDArray[Any]:
    if label.ndim < 2 or label.shape[0] != 1:
        raise ValueError(f"label has shape {tuple(label.shape)}, expected one channel (1, *spatial)")
    array = numpy_array(label)[0]
    check_whole_labels(array, "label")
    return array


def _slice_mask(shape: tuple[int, ...], slices: Slices) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    for axis, indices in slices.items():
        if not 0 <= axis < len(shape):
            raise ValueError(f"slices names axis {axis}, but the label has spatial axes 0 to {len(shape) - 1}")
        for index in indices:
            if not -shape[axis] <= index < shape[axis]:
                raise ValueError(f"slices names slice {index} of axis {axis}, expected less than {shape[axis]}")
            np.moveaxis(mask, axis, 0)[index] = True
    return mask


def _as_mask(mask: NDArray[np.bool_], like: torch.Tensor) -> NdarrayOrTensor:
    result: NdarrayOrTensor = convert_to_dst_type(mask[None].astype(np.float32), like, dtype=torch.float32)[0]
    return result
