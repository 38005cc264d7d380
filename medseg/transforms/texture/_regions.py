"""Regions of an image, given as a label map with selected labels or as one mask per region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.data import MetaTensor
from monai.utils import convert_data_type
from torch import Tensor

__all__ = ["Labels", "check_labels", "region_masks"]

Labels = Sequence[int | Sequence[int]] | None


def check_labels(labels: Labels) -> tuple[tuple[int, ...], ...] | None:
    """The labels of every region as tuples.

    Raises:
        ValueError: if there is no region, or a region without a label.
    """
    if labels is None:
        return None
    groups = tuple((int(g),) if isinstance(g, int | np.integer) else tuple(int(v) for v in g) for g in labels)
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
        ValueError: for another shape, or masks with values other than 0 and 1.
    """
    plain = regions.as_tensor() if isinstance(regions, MetaTensor) else regions
    found: Tensor = convert_data_type(plain, output_type=torch.Tensor, device=image.device)[0]
    if image.ndim not in (3, 4):
        raise ValueError(f"image has shape {tuple(image.shape)}, expected (C, H, W) or (C, D, H, W)")
    channels = "R" if labels is None else "1"
    if found.shape[1:] != image.shape[1:] or found.ndim != image.ndim or (labels and len(found) != 1):
        raise ValueError(
            f"regions have shape {tuple(found.shape)}, expected ({channels}, *{tuple(image.shape[1:])}) as the image"
        )
    if labels is not None:
        return torch.stack([torch.stack([found[0] == label for label in group]).any(0) for group in labels])
    if not bool(((found == 0) | (found == 1)).all()):
        raise ValueError(
            "regions hold values other than 0 and 1, expected one mask a region; name labels for a label map"
        )
    return found.bool()
