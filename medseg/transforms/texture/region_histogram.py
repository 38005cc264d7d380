"""Histograms of an image's values within regions: the density vector of an organ and of a lesion in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_tensor
from torch import Tensor

from medseg.ops._histogram_bins import hard_bin, in_range, soft_bin
from medseg.transforms.texture._beside import AddsBeside, as_vectors, check_alike
from medseg.transforms.texture._regions import Labels, check_labels, region_masks

__all__ = ["RegionHistogram", "RegionHistogramd", "region_valid"]

Outside = Literal["drop", "clip"]


class RegionHistogram(Transform):
    """Share of a region's voxels in every bin of intensity, for one region or several and every channel.

    Bins are of equal width from ``value_range[0]`` to ``value_range[1]``: HU for CT, 0 to 255 for a photograph with its
    three channels, anything else for other images. A histogram sums to 1, whatever the size of the region, and is
    all zero for a region without a voxel in range, which :func:`region_valid` tells from an empty bin.

    With ``soft`` a voxel is shared linearly between the two bins whose centres are nearest, so that the histogram is
    continuous in the image and differentiable through it; within half a bin of the ends it belongs to the end bin.

    Args:
        bins: number of bins, at least 1 (``soft``: at least 2).
        value_range: lower and upper end of the bins; the upper end belongs to the last bin.
        labels: for a label map: the label of every region, or several for one region, such as ``[(1, 2), 2]`` for the
            liver with its tumours and the tumours. None: the regions come as masks.
        soft: linear instead of hard bins.
        outside: "drop" leaves out voxels that are not in the range, "clip" counts them in the end bins.
        slice_axis: spatial axis (0 is the first after the channel) whose every slice gets histograms of its own; None
            for one histogram of the whole region.

    Raises:
        ValueError: for bins, a range, labels or a choice that cannot be.

    Example:
        >>> image = np.array([[[-150.0, 0.0, 100.0, 100.0]]])
        >>> label = np.array([[[1, 1, 2, 2]]])
        >>> RegionHistogram(bins=4, value_range=(-200, 200), labels=[1, (1, 2)])(image, label).tolist()
        [[[0.5, 0.0, 0.5, 0.0]], [[0.25, 0.0, 0.25, 0.5]]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        bins: int = 100,
        value_range: Sequence[float] = (-200.0, 250.0),
        labels: Labels = None,
        soft: bool = False,
        outside: Outside = "drop",
        slice_axis: int | None = None,
    ) -> None:
        self.bins, (self.low, self.high) = check_bins(bins, value_range, soft)
        if outside not in ("drop", "clip"):
            raise ValueError(f"outside is {outside!r}, expected 'drop' or 'clip'")
        self.labels = check_labels(labels)
        self.soft, self.outside, self.slice_axis = soft, outside, slice_axis

    def __call__(self, img: NdarrayOrTensor, regions: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return histograms ``(R, C, bins)``, or ``(slices, R, C, bins)`` with ``slice_axis``, as float32.

        float64 images give float64. NaN is in no bin.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes.
            regions: label map ``(1, *spatial)`` if the transform has labels, else masks ``(R, *spatial)``.

        Raises:
            ValueError: for shapes that do not fit, masks with values other than 0 and 1, or lazy transforms that are
                pending for one of the two alone.
        """
        check_alike(img, regions)
        tensor = convert_to_tensor(img, track_meta=get_track_meta())
        image = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
        if image.dtype != torch.float64:
            image = image.float()
        masks = region_masks(regions, image, self.labels)
        if self.slice_axis is not None and not 0 <= self.slice_axis < image.ndim - 1:
            raise ValueError(f"slice_axis is {self.slice_axis}, expected 0 to {image.ndim - 2} for this image")
        result = torch.stack([self._histograms(image, mask) for mask in masks], dim=1).to(image.dtype)
        if self.slice_axis is None:
            result = result[0]
        return as_vectors(result, tensor, image.dtype)

    def _histograms(self, image: Tensor, mask: Tensor) -> Tensor:
        """``[slices, C, bins]`` of one region, in float64."""
        slices = 1 if self.slice_axis is None else mask.shape[self.slice_axis]
        values = image[:, mask]
        if self.outside == "clip":
            values = values.clamp(self.low, self.high)
        place = torch.zeros_like(values, dtype=torch.int64)
        if self.slice_axis is not None:
            place += mask.nonzero()[:, self.slice_axis] * len(values)
        place += torch.arange(len(values), device=values.device)[:, None]
        counted = in_range(values, self.low, self.high)
        place, values = place[counted] * self.bins, values[counted]
        sums = values.new_zeros(slices * len(image) * self.bins, dtype=torch.float64)
        for bin_number, share in self._shares(values):
            sums = sums.index_add(0, place + bin_number, share)
        sums = sums.reshape(slices, len(image), self.bins)
        counts = torch.bincount(place // self.bins, minlength=slices * len(image)).reshape(slices, len(image), 1)
        return sums / counts.clamp(min=1)

    def _shares(self, values: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The bins that values fall into, with the share of each."""
        if not self.soft:
            return [(hard_bin(values, self.bins, self.low, self.high), torch.ones_like(values, dtype=torch.float64))]
        lower, share = soft_bin(values, self.bins, self.low, self.high)
        return [(lower, 1 - share), (lower + 1, share)]


class RegionHistogramd(AddsBeside):
    """Dictionary form of :class:`RegionHistogram`: the histograms of ``key`` become ``key + postfix``.

    The flags of :func:`region_valid` become the item ``key + postfix + "_valid"``.

    Args:
        keys: the images, which stay as they are.
        region_key: the label map or the masks of the regions.
        bins: see :class:`RegionHistogram`.
        value_range: see :class:`RegionHistogram`.
        labels: see :class:`RegionHistogram`.
        soft: see :class:`RegionHistogram`.
        outside: see :class:`RegionHistogram`.
        slice_axis: see :class:`RegionHistogram`.
        postfix: appended to a key to name its histograms.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Raises:
        ValueError: also for an empty postfix, which would overwrite the image.

    Example:
        >>> sample = {"image": np.zeros((1, 8, 8)), "label": np.ones((1, 8, 8), np.uint8)}
        >>> found = RegionHistogramd("image", "label", labels=[1, 2])(sample)
        >>> found["image_histogram"].shape
        torch.Size([2, 1, 100])
        >>> found["image_histogram_valid"].tolist()
        [[True], [False]]
    """

    backend = RegionHistogram.backend
    further = ("_valid",)

    def __init__(
        self,
        keys: KeysCollection,
        region_key: str,
        bins: int = 100,
        value_range: Sequence[float] = (-200.0, 250.0),
        labels: Labels = None,
        soft: bool = False,
        outside: Outside = "drop",
        slice_axis: int | None = None,
        postfix: str = "_histogram",
        allow_missing_keys: bool = False,
    ) -> None:
        transform = RegionHistogram(bins, value_range, labels, soft, outside, slice_axis)
        super().__init__(keys, transform, postfix, region_key, allow_missing_keys)

    def derive(self, image: Any, *second: Any) -> tuple[Any, ...]:
        """The histograms and which of them hold anything."""
        histograms = self.transform(image, *second)
        return histograms, region_valid(histograms)


def region_valid(histograms: NdarrayOrTensor) -> Tensor:
    """Which histograms hold anything, bool ``(..., R, C)`` of histograms ``(..., R, C, bins)``.

    A region without a voxel in range has no histogram, which a network must be able to tell from any true one.

    Example:
        >>> region_valid(torch.tensor([[[0.5, 0.5]], [[0.0, 0.0]]])).tolist()
        [[True], [False]]
    """
    plain = histograms.as_tensor() if isinstance(histograms, MetaTensor) else torch.as_tensor(histograms)
    return plain.detach().sum(-1) > 0


def check_bins(bins: int, value_range: Sequence[float], soft: bool) -> tuple[int, tuple[float, float]]:
    """The number of bins and their range, or a ValueError that says what is wrong with them."""
    least = 2 if soft else 1
    if bins != int(bins) or bins < least:
        raise ValueError(f"bins is {bins}, expected a whole number from {least}")
    low, high = (float(v) for v in value_range) if len(value_range) == 2 else (np.nan, np.nan)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"value_range is {tuple(value_range)}, expected two numbers, the lower one first")
    return int(bins), (low, high)
