"""The spatial guide branch: a bias for every voxel and channel from a map that shows where the user pointed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.layers.guidance.guidance import Guidance, as_guidance, guided_flags

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

    Example:
        >>> layer = SpatialGuide(spatial_dims=2, channels=[8, 16], halvings=[(1, 1), (2, 2)])
        >>> image = torch.randn(2, 1, 32, 32)
        >>> [bias.shape for bias in layer(Guidance(spatial=torch.rand(2, 1, 32, 32)), image)]
        [torch.Size([2, 8, 16, 16]), torch.Size([2, 16, 8, 8])]
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

    def forward(self, guidance: Guidance | Mapping[str, Tensor] | None, image: Tensor) -> list[Tensor]:
        """Biases.

        Args:
            guidance: `Guidance` of which ``spatial`` and ``guided`` are read. Without a map the null value is
                everywhere.
            image: ``[B, any, *S]``; only its shape is read.

        Returns:
            For every map its bias ``[B, C, *S / 2^halvings]``, sizes rounded up.

        Raises:
            ValueError: for shapes that do not fit.
        """
        levels = []
        for i, small in enumerate(guide_pyramid(self._filled(guidance, image), self.levels)):
            bias = self.convs[i](small)
            levels.append(self.gains[i] * self.norms[i](bias) if len(self.norms) else bias)
        parts = {level: iter(b.split(s, 1)) for level, b, s in zip(self.levels, levels, self.splits, strict=True)}
        return [next(parts[h]) for h in self.halvings]

    def _filled(self, given: Guidance | Mapping[str, Tensor] | None, image: Tensor) -> Tensor:
        guidance, weight = as_guidance("SpatialGuide", given), self.convs[0].weight
        shape = (image.shape[0], self.guide_channels, *image.shape[2:])
        return spatial_map("SpatialGuide", guidance, shape, weight, self.null)


def spatial_map(owner: str, guidance: Guidance, shape: tuple[int, ...], like: Tensor, null: float) -> Tensor:
    """The guide map, with the null value wherever no guide is known.

    Args:
        owner: name of the layer or network, for the message.
        guidance: what is known.
        shape: expected shape of the map, ``(B, channels, *S)``.
        like: a tensor of the wanted type and device.
        null: value of a map that says nothing.

    Raises:
        ValueError: for a map of another shape, or flags that are not bool ``[B]``.
    """
    guide, keep = guidance.spatial, guided_flags(owner, guidance, shape[0], like.device)
    if guide is None:
        return like.new_full(shape, null)
    if tuple(guide.shape) != tuple(shape):
        raise ValueError(f"{owner}: spatial has shape {list(guide.shape)}; expected {list(shape)}")
    guide = guide.to(like)
    return guide if keep is None else torch.where(keep.reshape(-1, *(1,) * (guide.ndim - 1)), guide, null)


def guide_pyramid(guide: Tensor, levels: Sequence[Halvings]) -> list[Tensor]:
    """The guide averaged over 2^h voxels along each axis, in steps of 2; sizes are rounded up.

    Args:
        guide: ``[B, any, *S]``.
        levels: for each result, h of every axis.

    Example:
        >>> [level.shape for level in guide_pyramid(torch.rand(1, 1, 9, 8), [(1, 1), (2, 1)])]
        [torch.Size([1, 1, 5, 4]), torch.Size([1, 1, 3, 4])]
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

    Example:
        >>> inner(torch.arange(6.0).reshape(1, 1, 1, 6), (1, 4))
        tensor([[[[1., 2., 3., 4.]]]])
    """
    for axis, side in enumerate(size, start=2):
        if side > bias.shape[axis]:
            raise ValueError(f"SpatialGuide: map of size {list(size)} for a guide of size {list(bias.shape[2:])}")
        if side < bias.shape[axis]:
            bias = bias.narrow(axis, (bias.shape[axis] - side) // 2, side)
    return bias
