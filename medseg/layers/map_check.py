"""The checks of a layer's map, shared by all layers: one line for a tensor that does not fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["check_dtype", "check_map"]


def check_map(owner: str, x: Tensor, weights: nn.Module | None = None, sides: int = 1, samples: bool = False) -> None:
    """Raises an error unless x holds floating numbers and at least one voxel in every sample.

    Args:
        owner: name of the layer, for the message.
        x: its map ``[B, C, *S]``.
        weights: the layer, where x must have the dtype of its weights. None: any floating dtype.
        sides: smallest side of the map.
        samples: whether a batch without a sample is refused too.

    Raises:
        TypeError: for anything but a tensor of floating numbers, or of another dtype than the weights.
        ValueError: for a map that is too small, or a batch without a sample.

    Example:
        >>> check_map("MyLayer", torch.zeros(1, 3, 8, 8))
        >>> check_map("MyLayer", torch.zeros(1, 3, 8, 0))
        Traceback (most recent call last):
            ...
        ValueError: MyLayer: input has shape [1, 3, 8, 0]; expected at least one channel and one voxel
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{owner}: input is {type(x).__name__}; expected a tensor: use torch.as_tensor")
    shape = list(x.shape)
    if 0 in shape[1:]:
        raise ValueError(f"{owner}: input has shape {shape}; expected at least one channel and one voxel")
    if sides > 1 and min(shape[2:]) < sides:
        raise ValueError(f"{owner}: input has shape {shape}; expected sides of at least {sides} voxels, one patch")
    if samples and shape[0] == 0:
        raise ValueError(f"{owner}: input has shape {shape}; expected at least one sample")
    check_dtype(owner, x, weights)


def check_dtype(owner: str, x: Tensor, weights: nn.Module | None) -> None:
    """Raises TypeError unless x has floating numbers, of the dtype of the first weight except under autocast."""
    if not x.is_floating_point():
        raise TypeError(
            f"{owner}: input is {x.dtype}; expected floating numbers: scale it (ScaleIntensityRange) or convert it "
            "(CastToType), both in monai.transforms"
        )
    first = None if weights is None else next(weights.parameters(), None)
    if first is None or not first.is_floating_point() or x.dtype == first.dtype:
        return
    # Autocast converts image and weights; it leaves float64 alone.
    if torch.is_autocast_enabled(x.device.type) and torch.float64 not in (x.dtype, first.dtype):
        return
    raise TypeError(
        f"{owner}: input is {x.dtype}, the weights are {first.dtype}; expected one dtype: convert the image "
        f"(image.to({first.dtype})), or the network, or use torch.autocast"
    )
