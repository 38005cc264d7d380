"""A volume as a batch of slices; the channels of each are the slice and its two neighbours."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["slice_triplets"]


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
    triplets = F.pad(volume, (1, 1)).unfold(-1, 3, 1)  # [B, C, H, W, D, 3]
    return triplets.permute(0, 4, 1, 5, 2, 3).flatten(2, 3).flatten(0, 1)
