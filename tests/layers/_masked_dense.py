"""The rounds written out as masked dense convolutions, position by position: an independent oracle."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from medseg.layers import QuadtreeConv
from medseg.partition import BlockPlan


def position_mask(plan: BlockPlan, r: int, size: tuple[int, ...]) -> Tensor:
    """Which positions of a map ``[B, 1, *S]`` round r writes."""
    grids = torch.meshgrid(*(torch.arange(s) for s in size), indexing="ij")
    tiles = [at // -(-s // g) for at, s, g in zip(grids, size, plan.grid, strict=True)]
    return plan.mask[r][(slice(None), *tiles)][:, None]


def over_active(v: Tensor, mask: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over the active positions of the batch, or of each sample."""
    parts = v.split(1) if kind == "instance" else [v]
    masks = mask.split(1) if kind == "instance" else [mask]
    moments = []
    for part, chosen in zip(parts, masks, strict=True):
        values = part.movedim(1, -1)[chosen[:, 0]]
        moments.append((values.mean(0), values.var(0, unbiased=False)))
    shape = (len(parts), -1, *(1,) * (v.ndim - 2))
    mean = torch.stack([m for m, _ in moments]).reshape(shape)
    return mean, torch.stack([s for _, s in moments]).reshape(shape)


def masked_dense(layer: QuadtreeConv, x: Tensor, plan: BlockPlan) -> Tensor:
    """What the layer shall compute under a plan, in training."""
    convolve = F.conv2d if layer.spatial_dims == 2 else F.conv3d
    size = tuple(x.shape[2:])
    y = first = x if layer.root_conv is None else layer.root_conv(x)
    for r in range(layer.rounds):
        mask = position_mask(plan, r, size)
        bias = None if layer.bias is None else layer.bias[r]
        z = convolve(
            first if layer.mode == "parallel" else y, layer.weight.chunk(layer.rounds)[r], bias, padding="same"
        )
        norm = layer.norm
        if norm.kind is not None and mask.any():
            mean, variance = over_active(z, mask, norm.kind)
            z = (z - mean) / (variance + norm.eps).sqrt()
            if norm.scale is not None and norm.shift is not None:
                lift = (-1, *(1,) * (x.ndim - 2))
                z = z * norm.scale[r].reshape(lift) + norm.shift[r].reshape(lift)
        if layer.activation is not None:
            z = torch.where(z > 0, z, z * layer.slope)
        y = torch.where(mask, z if layer.mode == "replace" else y + z, y)
    return y
