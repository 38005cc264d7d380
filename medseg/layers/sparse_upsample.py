"""Sparse upsampling: puts the patches of a sparse downsampling back to their original positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medseg._arguments import checked_arguments
from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.sparse_downsample import PatchIndex
from medseg.ops import patch_scatter
from medseg.ops.patch_gather import from_patches, to_patches

__all__ = ["SparseUpsample"]

FILLS = ("zeros", "neighbours")


@checked_arguments
class SparseUpsample(nn.Module):
    """Doubles every side of a map by putting the patches back to where a `SparseDownsample` took them from.

    Patches of several slots with the same original position are averaged, in the order of the slots. Positions without
    a patch become zero, or the mean of the patches at the 3^d - 1 neighbouring positions (zero if there is none). The
    number of channels may differ from that of the downsampling, as there may be other layers in between.

    Args:
        spatial_dims: 2 or 3.
        fill: "zeros" or "neighbours".

    Raises:
        ValueError: for other values.

    Example:
        >>> x = torch.randn(2, 3, 16, 16)
        >>> out, place = SparseDownsample(2, channels=3, patch=4, return_index=True)(x)
        >>> back = SparseUpsample(spatial_dims=2)(out, place)
        >>> back.shape, bool(((back == x) | (back == 0)).all())
        (torch.Size([2, 3, 16, 16]), True)
    """

    def __init__(self, spatial_dims: int, fill: str = "zeros") -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"SparseUpsample: spatial_dims is {spatial_dims}; expected 2 or 3")
        if fill not in FILLS:
            raise ValueError(f"SparseUpsample: fill is {fill!r}; expected one of {', '.join(map(repr, FILLS))}")
        self.spatial_dims, self.fill = spatial_dims, fill

    @keep_metadata
    def forward(self, x: Tensor, place: PatchIndex) -> Tensor:
        """Puts the patches back.

        Args:
            x: ``[B, C, *S]`` with the spatial size of the result of the downsampling. A MetaTensor gives a MetaTensor.
            place: the `PatchIndex` that the downsampling returned with ``return_index=True``.

        Returns:
            ``[B, C, *place.size]`` in the dtype of x.

        Raises:
            ValueError: if size or batch of x are not those of the downsampling.
        """
        patch, size = place.patch, place.size
        grid = [2 * math.ceil(s / (2 * patch)) for s in size]
        expected = [g // 2 * patch for g in grid]
        if list(x.shape[2:]) != expected or x.shape[0] != place.index.shape[0]:
            raise ValueError(
                f"SparseUpsample: input has shape {list(x.shape)}; expected [{place.index.shape[0]}, C, "
                f"{', '.join(map(str, expected))}], as its SparseDownsample made from size {list(size)}"
            )
        count = _visits(place.index, grid).to(x.dtype)
        out = patch_scatter(x, place.index, patch, grid)
        out = out / _spread(count.clamp(min=1), patch)
        if self.fill == "neighbours":
            out = _fill_from_neighbours(out, (count > 0).to(x.dtype), patch)
        for axis, s in enumerate(size, start=2):
            out = out.narrow(axis, 0, s)
        return out


def _visits(index: Tensor, grid: list[int]) -> Tensor:
    """In how many slots each patch is: ``[B, 1, *grid]``; sums of ones are exact in any order."""
    ones = torch.ones(index.shape, device=index.device)
    count = torch.zeros(index.shape[0], math.prod(grid), device=index.device)
    return count.scatter_add(1, index.long(), ones).reshape(-1, 1, *grid)


def _spread(per_patch: Tensor, patch: int) -> Tensor:
    """One value per patch, repeated for all voxels of the patch."""
    for axis in range(2, per_patch.ndim):
        per_patch = per_patch.repeat_interleave(patch, dim=axis)
    return per_patch


def _fill_from_neighbours(x: Tensor, filled: Tensor, patch: int) -> Tensor:
    """Replaces empty patches by the mean of the filled neighbouring patches, voxel by voxel."""
    grid = list(filled.shape[2:])
    rows = to_patches(x, patch)
    as_map = rows.transpose(1, 2).reshape(x.shape[0], -1, *grid)
    pool = F.avg_pool2d if len(grid) == 2 else F.avg_pool3d
    # Padded before: 3-D pooling does not take a map that is smaller than its window, even with padding.
    around = (1, 1) * len(grid)
    total, weight = pool(F.pad(as_map, around), 3, 1), pool(F.pad(filled, around), 3, 1)
    mean = total / weight.clamp(min=0.5 / 3 ** len(grid))
    merged = torch.where(filled > 0, as_map, mean).flatten(2).transpose(1, 2)
    return from_patches(merged, tuple(x.shape), patch)
