"""A volume as a batch of slices; the channels of each are the slice and its two neighbours."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["slice_stacks", "slice_triplets"]


def slice_triplets(volume: Tensor) -> Tensor:
    """The slices of a volume as the input of a 2-D network that takes three adjacent slices as channels.

    Args:
        volume: ``[B, C, H, W, D]``, slices along the last axis.

    Returns:
        ``[B * D, 3 C, H, W]``: the slices of the first volume, then those of the second, and so on. The channels are
        slices z - 1, z, z + 1 of the first channel of the volume, then of the second, and so on. Slices before the
        first and after the last one are 0.

    Raises:
        ValueError: for another number of axes.

    Example:
        >>> slice_triplets(torch.randn(2, 1, 8, 8, 5)).shape
        torch.Size([10, 3, 8, 8])
    """
    if volume.ndim != 5:
        raise ValueError(f"slice_triplets: volume has shape {list(volume.shape)}; expected [B, C, H, W, D]")
    return slice_stacks(volume, 1)


def slice_stacks(volume: Tensor, neighbours: int) -> Tensor:
    """The slices of a volume, each with its neighbours on both sides as further channels.

    Args:
        volume: ``[B, C, H, W, D]``, slices along the last axis.
        neighbours: n, their number on each side.

    Returns:
        ``[B * D, (2 n + 1) C, H, W]``, in the order of `slice_triplets`.

    Example:
        >>> slice_stacks(torch.arange(3.0).reshape(1, 1, 1, 1, 3), 1).flatten(1).tolist()
        [[0.0, 0.0, 1.0], [0.0, 1.0, 2.0], [1.0, 2.0, 0.0]]
    """
    stacks = F.pad(volume, (neighbours, neighbours)).unfold(-1, 2 * neighbours + 1, 1)  # [B, C, H, W, D, 2 n + 1]
    return stacks.permute(0, 4, 1, 5, 2, 3).flatten(2, 3).flatten(0, 1)
