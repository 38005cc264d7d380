"""The branch for guide maps: a bias for every voxel and channel from a map that shows where the user pointed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn import functional as F

from medseg._arguments import checked_arguments, finite_number
from medseg.layers.guidance.guidance import Guidance, as_guidance, guided_flags
from medseg.layers.map_check import check_map

__all__ = ["SpatialGuide", "guide_pyramid", "inner"]

KINDS = ("linear", "normed")
Halvings = tuple[int, ...]


@checked_arguments
class SpatialGuide(nn.Module):
    """Biases for the maps of a network: a pyramid of the guide map, and a convolution of side 1 on each of its levels.

    All biases are initially zero, so a new layer does not change the network.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of each map to bias, in the order in which the maps are computed.
        halvings: for each of these maps, how often each axis has been halved.
        guide_channels: channels of the guide map.
        kind: ``"linear"``, or ``"normed"``: the convolution is followed by instance normalisation and ReLU, then by a
            factor per channel that is initially zero.
        null: value of a guide map without information, i.e. of `medseg.transforms.guidance.GuideMap` without prompts.

    Raises:
        ValueError: for an unknown kind, or numbers that do not match.

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
        self.spatial_dims, self.guide_channels = spatial_dims, guide_channels
        self.null = finite_number("SpatialGuide", "null", null)
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
            guidance: `Guidance`, of which ``spatial`` and ``guided`` are used. Without ``spatial`` the guide map has
                the null value everywhere.
            image: ``[B, any, *S]``; only its shape is used.

        Returns:
            For every map its bias ``[B, C, *S / 2^halvings]``, with sizes rounded up.

        Raises:
            ValueError: for shapes that do not match.
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
    """The guide map, with the null value for samples without guidance.

    Args:
        owner: name of the layer or network, for the message.
        guidance: what is known.
        shape: expected shape of the map, ``(B, channels, *S)``.
        like: a tensor with the dtype and device of the result.
        null: value of a guide map without information.

    Raises:
        ValueError: for a map of another shape, or flags that are not bool ``[B]``.
    """
    if 0 in shape[1:]:
        raise ValueError(f"{owner}: the image has shape {list(shape)}; expected at least one channel and one voxel")
    guide, keep = guidance.spatial, guided_flags(owner, guidance, shape[0], like.device)
    if guide is None:
        return like.new_full(shape, null)
    if tuple(guide.shape) != tuple(shape):
        raise ValueError(
            f"{owner}: spatial has shape {list(guide.shape)}; expected {list(shape)} (for windows of "
            "an image, medseg.training.GuidedInferer cuts the guide map along)"
        )
    guide = guide.to(like)
    return guide if keep is None else torch.where(keep.reshape(-1, *(1,) * (guide.ndim - 1)), guide, null)


def guide_pyramid(guide: Tensor, levels: Sequence[Halvings]) -> list[Tensor]:
    """The guide map averaged over 2^h voxels along each axis, in steps of 2; sizes are rounded up.

    Args:
        guide: ``[B, any, *S]``.
        levels: for each result, h for every axis.

    Example:
        >>> [level.shape for level in guide_pyramid(torch.rand(1, 1, 9, 8), [(1, 1), (2, 1)])]
        [torch.Size([1, 1, 5, 4]), torch.Size([1, 1, 3, 4])]
    """
    check_map("guide_pyramid", guide)
    pool = F.avg_pool2d if guide.ndim == 4 else F.avg_pool3d
    made = {(0,) * (guide.ndim - 2): guide}

    def at(level: Halvings) -> Tensor:
        if level not in made:
            before = at(tuple(max(0, h - 1) for h in level))
            made[level] = pool(before, [2 if h else 1 for h in level], ceil_mode=True, count_include_pad=False)
        return made[level]

    return [at(tuple(level)) for level in levels]


def inner(bias: Tensor, size: Sequence[int]) -> Tensor:
    """The central part of a bias, with the spatial size of the map that it is added to.

    Convolutions without padding remove the same number of voxels at both ends of a map; a pooling that rounds down
    removes the last voxel.

    Raises:
        ValueError: if the map is larger than the bias.

    Example:
        >>> inner(torch.arange(6.0).reshape(1, 1, 1, 6), (1, 4))
        tensor([[[[1., 2., 3., 4.]]]])
    """
    for axis, side in enumerate(size, start=2):
        if side > bias.shape[axis]:
            raise ValueError(
                f"SpatialGuide: the map has size {list(size)}; expected at most the guide's, {list(bias.shape[2:])}"
            )
        if side < bias.shape[axis]:
            bias = bias.narrow(axis, (bias.shape[axis] - side) // 2, side)
    return bias
