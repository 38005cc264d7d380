"""A volume as a batch of its slices, each with its two neighbours as channels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["slice_triplets"]


def slice_triplets(volume: Tensor) -> Tensor:
    """What a 2-D network on three adjacent slices sees of a volume, slice by slice.

    Args:
        volume: ``[B, C, H, W, D]``, slices along the last axis.

    Returns:
        ``[B * D, 3 C, H, W]``: the slices of the first volume, then those of the second, ...; channels are slices
        z - 1, z, z + 1 of the volume's first channel, then of its second, ... Beyond the volume's ends they are 0.

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
