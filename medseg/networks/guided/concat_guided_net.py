"""The plain way to guide a network, to compare others with: guidance as further channels of its input."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from medseg.layers.guidance import DensityModulator
from medseg.layers.named import Named, split_named

__all__ = ["ConcatGuidedNet"]


class ConcatGuidedNet(nn.Module):
    """Concatenates image, guide map and density before a network: the baseline of `GuidedNet`, called the same way.

    The guide map is taken as it is; the density vector becomes a few numbers, each spread over a channel. What is not
    given is the null value, or a learned vector.

    Args:
        backbone: network of ``in_channels + guide_channels + density_channels`` input channels.
        guide_channels: channels of the guide map; 0: none.
        density: ``"fc"``, ``"conv1d"`` or a pair of it and arguments of `DensityModulator`; None for no density.
        density_channels: input channels that the density becomes.
        null: value of a guide map that says nothing.

    Raises:
        ValueError: if there is nothing to concatenate, or for settings that do not exist.
    """

    def __init__(
        self,
        backbone: nn.Module,
        guide_channels: int = 1,
        density: Named | None = None,
        density_channels: int = 8,
        null: float = 0.0,
    ) -> None:
        super().__init__()
        if guide_channels < 0 or (density is not None and density_channels < 1):
            raise ValueError(
                f"ConcatGuidedNet: guide_channels is {guide_channels}, density_channels {density_channels}; expected "
                "at least 0 and 1"
            )
        if not guide_channels and density is None:
            raise ValueError("ConcatGuidedNet: no guide_channels and no density; give it something to concatenate")
        self.backbone, self.guide_channels, self.null, self.density = backbone, guide_channels, float(null), None
        if density is not None:
            head, options = split_named("ConcatGuidedNet", "density", density)
            if head == "se":
                raise ValueError(
                    "ConcatGuidedNet: density is 'se', whose gates see the maps of a network; expected fc or conv1d"
                )
            self.density = DensityModulator([density_channels], head, **options)

    def forward(
        self,
        x: Tensor,
        density: Tensor | None = None,
        spatial: Tensor | None = None,
        texture: Tensor | None = None,
        valid: Tensor | None = None,
        guided: Tensor | None = None,
        **arguments: Any,
    ) -> Any:
        """Runs the backbone on all of it; arguments as of `GuidedNet.forward`.

        Raises:
            ValueError: for guidance that the net does not take, or shapes that do not fit.
        """
        parts = [x.as_tensor() if isinstance(x, MetaTensor) else x]
        if self.guide_channels:
            parts.append(self._guide(spatial, parts[0], guided))
        elif spatial is not None:
            raise ValueError("ConcatGuidedNet: spatial is given, but guide_channels is 0")
        if self.density is not None:
            values = self.density(density, texture, valid, guided, x.shape[0])[0][0].to(parts[0].dtype)
            parts.append(values.reshape(*values.shape, *(1,) * (x.ndim - 2)).expand(-1, -1, *x.shape[2:]))
        elif density is not None or texture is not None:
            raise ValueError("ConcatGuidedNet: density or texture is given, but the net takes none; set density")
        return self.backbone(torch.cat(parts, 1), **arguments)

    def _guide(self, guide: Tensor | None, x: Tensor, guided: Tensor | None) -> Tensor:
        shape = (x.shape[0], self.guide_channels, *x.shape[2:])
        if guide is None:
            return x.new_full(shape, self.null)
        guide = (guide.as_tensor() if isinstance(guide, MetaTensor) else guide).to(x)
        if tuple(guide.shape) != shape:
            raise ValueError(f"ConcatGuidedNet: spatial has shape {list(guide.shape)}; expected {list(shape)}")
        if guided is None:
            return guide
        return torch.where(guided.to(x.device).reshape(-1, *(1,) * (x.ndim - 1)), guide, self.null)
