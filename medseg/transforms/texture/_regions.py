"""Regions of an image, given as a label map with selected labels or as one mask per region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from monai.config import NdarrayOrTensor
from torch import Tensor

from medseg.geometry import check_whole_labels
from medseg.transforms._arrays import plain_tensor
from medseg.transforms._checks import check_in_order, whole_number
from medseg.transforms.texture._beside import check_mask

__all__ = ["Labels", "check_labels", "region_masks"]

Labels = Sequence[int | Sequence[int]] | None


def check_labels(labels: Labels) -> tuple[tuple[int, ...], ...] | None:
    """The labels of every region as tuples.

    Raises:
        ValueError: if there is no region, a region without a label, or a label that is not a whole number.
    """
    if labels is None:
        return None
    check_in_order("labels", labels)
    several = [group if isinstance(group, Iterable) and not isinstance(group, str) else (group,) for group in labels]
    groups = tuple(tuple(whole_number("label in labels", value) for value in group) for group in several)
    if not groups or not all(groups):
        raise ValueError(f"labels is {labels!r}, expected one label, or a list of them, for every region")
    return groups


def region_masks(regions: NdarrayOrTensor, image: Tensor, labels: tuple[tuple[int, ...], ...] | None) -> Tensor:
    """One mask per region, bool ``[R, *spatial]``, on the device of the image.

    Args:
        regions: a label map ``(1, *spatial)`` if labels are given, else masks ``(R, *spatial)`` of 0 and 1.
        image: ``(C, *spatial)``.
        labels: the labels of every region, or None.

    Raises:
        ValueError: for another shape, labels that are not whole numbers, or masks with values other than 0 and 1.
    """
    found = plain_tensor(regions, "regions").to(image.device)
    if image.ndim not in (3, 4):
        raise ValueError(f"image has shape {tuple(image.shape)}, expected (C, H, W) or (C, D, H, W)")
    channels = "R" if labels is None else "1"
    if found.shape[1:] != image.shape[1:] or found.ndim != image.ndim or (labels and len(found) != 1):
        raise ValueError(
            f"regions have shape {tuple(found.shape)}, expected ({channels}, *{tuple(image.shape[1:])}) as the image"
        )
    if labels is not None:
        check_whole_labels(found, "regions")
        return torch.stack([torch.stack([found[0] == label for label in group]).any(0) for group in labels])
    check_mask(found, "regions hold", "expected one mask per region; name labels for a label map")
    return found.bool()
