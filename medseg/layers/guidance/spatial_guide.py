"""The spatial guide branch: a bias for every voxel and channel from a map that shows where the user pointed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.data import MetaTensor
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SpatialGuide", "guide_pyramid", "inner"]

KINDS = ("linear", "normed")
Halvings = tuple[int, ...]


class SpatialGuide(nn.Module):
    """Biases of a network's maps: a pyramid of the guide, and a convolution of side 1 on each of its levels.

    Everything starts at zero, so that a network with these biases starts as the network itself.

    Args:
        spatial_dims: 2 or 3.
        channels: of the maps to bias, in the order in which the image meets them.
        halvings: of each of those maps, how often each of its axes was halved.
        guide_channels: channels of the guide map.
        kind: ``"linear"``, or ``"normed"``: instance normalisation and ReLU follow the convolution, then a factor per
            channel that starts at zero.
        null: value of a guide map that says nothing, that of `medseg.transforms.guidance.GuideMap` without prompts.

    Raises:
        ValueError: for an unknown kind or numbers that do not fit.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: Sequence[int],
        halvings: Sequence[Halvings],
        guide_channels: int = 1,
        kind: str = "linear",
        null: float = 0.0,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"SpatialGuide: kind is {kind!r}; expected one of {', '.join(KINDS)}")
        if guide_channels < 1:
            raise ValueError(f"SpatialGuide: guide_channels is {guide_channels}; expected at least 1")
        if len(channels) != len(halvings):
            raise ValueError(f"SpatialGuide: {len(channels)} channels for {len(halvings)} maps; expected as many")
        self.spatial_dims, self.guide_channels, self.null = spatial_dims, guide_channels, float(null)
        self.halvings, self.levels = [tuple(h) for h in halvings], sorted({tuple(h) for h in halvings})
        self.splits = [[c for c, h in zip(channels, self.halvings, strict=True) if h == level] for level in self.levels]
        self.convs, self.norms, self.gains = nn.ModuleList(), nn.ModuleList(), nn.ParameterList()
        for split in self.splits:
            conv = Conv["conv", spatial_dims](guide_channels, sum(split), 1)
            if kind == "linear":
                nn.init.zeros_(conv.weight)
                nn.init.zeros_(conv.bias)
            else:
                self.norms.append(nn.Sequential(Norm["instance", spatial_dims](sum(split), affine=True), nn.ReLU()))
                self.gains.append(nn.Parameter(torch.zeros(sum(split), *(1,) * spatial_dims)))
            self.convs.append(conv)

    def forward(self, guide: Tensor | None, like: Tensor, guided: Tensor | None = None) -> list[Tensor]:
        """Biases.

        Args:
            guide: map ``[B, guide_channels, *S]`` on the image's grid. None: none, the null value everywhere.
            like: the image ``[B, any, *S]``.
            guided: bool ``[B]``: samples whose map to read. None: all.

        Returns:
            For every map its bias ``[B, C, *S / 2^halvings]``, sizes rounded up.

        Raises:
            ValueError: for shapes that do not fit.
        """
        levels = []
        for i, small in enumerate(guide_pyramid(self._filled(guide, like, guided), self.levels)):
            bias = self.convs[i](small)
            levels.append(self.gains[i] * self.norms[i](bias) if len(self.norms) else bias)
        parts = {level: iter(b.split(s, 1)) for level, b, s in zip(self.levels, levels, self.splits, strict=True)}
        return [next(parts[h]) for h in self.halvings]

    def _filled(self, guide: Tensor | None, like: Tensor, guided: Tensor | None) -> Tensor:
        shape, weight = (like.shape[0], self.guide_channels, *like.shape[2:]), self.convs[0].weight
        if guide is None:
            return torch.full(shape, self.null, dtype=weight.dtype, device=weight.device)
        guide = guide.as_tensor() if isinstance(guide, MetaTensor) else guide
        if tuple(guide.shape) != tuple(shape):
            raise ValueError(f"SpatialGuide: guide has shape {list(guide.shape)}; expected {list(shape)}")
        guide = guide.to(weight)
        if guided is None:
            return guide
        if guided.dtype != torch.bool or tuple(guided.shape) != shape[:1]:
            raise ValueError(
                f"SpatialGuide: guided is {guided.dtype} of shape {list(guided.shape)}; expected bool of {[shape[0]]}"
            )
        return torch.where(guided.to(guide.device).reshape(-1, *(1,) * (guide.ndim - 1)), guide, self.null)


def guide_pyramid(guide: Tensor, levels: Sequence[Halvings]) -> list[Tensor]:
    """The guide averaged over 2^h voxels along each axis, in steps of 2; sizes are rounded up.

    Args:
        guide: ``[B, any, *S]``.
        levels: for each result, h of every axis.
    """
    pool = F.avg_pool2d if guide.ndim == 4 else F.avg_pool3d
    made = {(0,) * (guide.ndim - 2): guide}

    def at(level: Halvings) -> Tensor:
        if level not in made:
            before = at(tuple(max(0, h - 1) for h in level))
            made[level] = pool(before, [2 if h else 1 for h in level], ceil_mode=True, count_include_pad=False)
        return made[level]

    return [at(tuple(level)) for level in levels]


def inner(bias: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of a bias, of the spatial size of the map it is for.

    Convolutions without padding take as much from both ends of a map; a pooling that rounds down takes the last voxel.

    Raises:
        ValueError: if the map is larger than the bias.
    """
    for axis, side in enumerate(size, start=2):
        if side > bias.shape[axis]:
            raise ValueError(f"SpatialGuide: map of size {list(size)} for a guide of size {list(bias.shape[2:])}")
        if side < bias.shape[axis]:
            bias = bias.narrow(axis, (bias.shape[axis] - side) // 2, side)
    return bias
