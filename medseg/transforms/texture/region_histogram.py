"""Histograms of the intensities in regions, e.g. of an organ and of a lesion in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends
from torch import Tensor

from medseg._arguments import checked_arguments
from medseg.ops._histogram_bins import hard_bin, in_range, soft_bin
from medseg.transforms._arrays import plain_tensor, tracked_tensor, widened
from medseg.transforms._checks import whole_number
from medseg.transforms.texture._beside import AddsBeside, as_vectors, check_alike
from medseg.transforms.texture._regions import Labels, check_labels, region_masks

__all__ = ["RegionHistogram", "RegionHistogramd", "region_valid"]

Outside = Literal["drop", "clip"]


@checked_arguments
class RegionHistogram(Transform):
    """Fraction of the voxels of a region in every bin of intensity, for one or several regions and every channel.

    Bins have equal width from ``value_range[0]`` to ``value_range[1]``, in the unit of the image: HU for CT, 0 to 255
    for a colour photograph. A histogram sums to 1, whatever the size of the region. For a region without a voxel in the
    range it is all zero; :func:`region_valid` recognises this case.

    With ``soft``, a voxel is divided linearly between the two bins with the nearest centres, so that the histogram is
    continuous and differentiable with respect to the image. Within half a bin of the ends of the range, a voxel belongs
    to the first or last bin alone.

    A voxel that is not finite changes the regions that hold it only: NaN is in no bin, and an infinite voxel is outside
    of the value range (see ``outside``).

    Args:
        bins: number of bins, at least 1 (``soft``: at least 2).
        value_range: lower and upper end of the bins; the upper end belongs to the last bin.
        labels: for a label map: one label, or several labels, per region, e.g. ``[(1, 2), 2]`` for the liver with its
            tumours, and the tumours. None: the regions are given as masks.
        soft: linear instead of hard bins.
        outside: "drop" does not count voxels outside of the range, "clip" counts them in the first or last bin.
        slice_axis: spatial axis (0 is the first after the channel) for one histogram per slice along it; None for one
            histogram of the whole region.

    Raises:
        ValueError: for invalid bins, range or labels, or an unknown choice.

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
        self.soft, self.outside = soft, outside
        self.slice_axis = None if slice_axis is None else whole_number("slice_axis", slice_axis)

    def __call__(self, img: NdarrayOrTensor, regions: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return histograms ``(R, C, bins)``, or ``(slices, R, C, bins)`` with ``slice_axis``, as float32.

        float64 images give float64. NaN is in no bin.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes.
            regions: label map ``(1, *spatial)`` if the transform has labels, else masks ``(R, *spatial)``.

        Raises:
            ValueError: for shapes that do not match, masks with values other than 0 and 1, or lazy transforms that are
                pending for only one of the two.
        """
        check_alike(img, regions)
        tensor = tracked_tensor(img)
        image = widened(plain_tensor(tensor))
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
        """The bins that the values belong to, and the fraction of each."""
        if not self.soft:
            return [(hard_bin(values, self.bins, self.low, self.high), torch.ones_like(values, dtype=torch.float64))]
        lower, share = soft_bin(values, self.bins, self.low, self.high)
        return [(lower, 1 - share), (lower + 1, share)]


@checked_arguments
class RegionHistogramd(AddsBeside):
    """Dictionary form of :class:`RegionHistogram`: the histograms of ``key`` become ``key + postfix``.

    The flags of :func:`region_valid` become the item ``key + postfix + "_valid"``.

    Args:
        keys: the images; they do not change.
        region_key: item of the label map or of the masks of the regions.
        bins: see :class:`RegionHistogram`.
        value_range: see :class:`RegionHistogram`.
        labels: see :class:`RegionHistogram`.
        soft: see :class:`RegionHistogram`.
        outside: see :class:`RegionHistogram`.
        slice_axis: see :class:`RegionHistogram`.
        postfix: appended to the key to form the name of the histograms.
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
        """The histograms, and whether each of them has a voxel."""
        histograms = self.transform(image, *second)
        return histograms, region_valid(histograms)


def region_valid(histograms: NdarrayOrTensor) -> Tensor:
    """Whether a histogram has at least one voxel: bool ``(..., R, C)`` of histograms ``(..., R, C, bins)``.

    A region without a voxel in the range has no histogram; a network must be able to recognise this.

    Example:
        >>> region_valid(torch.tensor([[[0.5, 0.5]], [[0.0, 0.0]]])).tolist()
        [[True], [False]]
    """
    return widened(plain_tensor(histograms, "histograms")).detach().sum(-1) > 0


def check_bins(bins: int, value_range: Sequence[float], soft: bool) -> tuple[int, tuple[float, float]]:
    """The checked number of bins and their range; ValueError if they are invalid."""
    number = whole_number("bins", bins, 2 if soft else 1)
    return number, check_value_range(value_range)


def check_value_range(value_range: Sequence[float]) -> tuple[float, float]:
    """The checked lower and upper end of a range of intensities; ValueError if they are invalid."""
    low, high = (float(v) for v in value_range) if len(value_range) == 2 else (np.nan, np.nan)
    if not (np.isfinite(low) and np.isfinite(high) and low < high and np.isfinite(high - low)):
        raise ValueError(f"value_range is {tuple(value_range)}, expected two numbers, the lower one first")
    return low, high
