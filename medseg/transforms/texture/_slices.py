"""Slices of an image for 2-D filters: a 2-D image, or a volume along a given axis."""

from __future__ import annotations

from torch import Tensor

__all__ = ["from_slices", "to_slices"]


def to_slices(image: Tensor, slice_axis: int | None) -> Tensor:
    """The slices ``[C, N, H, W]`` of ``(C, H, W)`` (N = 1) or of ``(C, *spatial)`` along a spatial axis.

    Raises:
        ValueError: for a volume without a slice axis, a 2-D image with one, or an axis that does not exist.
    """
    if image.ndim == 3:
        if slice_axis is not None:
            raise ValueError(f"slice_axis is {slice_axis} but the image has two spatial axes, expected None")
        return image[:, None]
    if slice_axis is None or not 0 <= slice_axis < 3:
        raise ValueError(
            f"slice_axis is {slice_axis} but the image has three spatial axes, expected 0, 1 or 2: "
            "a volume is filtered slice by slice"
        )
    return image.movedim(1 + slice_axis, 1)


def from_slices(slices: Tensor, slice_axis: int | None) -> Tensor:
    """The image of which these are the slices; the inverse of :func:`to_slices`, for any number of channels."""
    return slices[:, 0] if slice_axis is None else slices.movedim(1, 1 + slice_axis)
