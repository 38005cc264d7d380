"""A baseline for guided networks: guidance as additional input channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medseg.layers.guidance import DensityModulator, Guidance
from medseg.layers.guidance.guidance import as_guidance
from medseg.layers.guidance.spatial_guide import spatial_map
from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.named import Named, split_named
from medseg.networks.parts.image_check import check_image

__all__ = ["ConcatGuidedNet"]


class ConcatGuidedNet(nn.Module):
    """Concatenates image, guide map and appearance as the input of a network: a baseline, called like `GuidedNet`.

    The guide map is used as it is. Histograms become a few numbers, each of which fills one channel. An unknown guide
    map is replaced by the null value, unknown histograms by a learned vector.

    Args:
        backbone: network with ``in_channels + guide_channels + appearance_channels`` input channels.
        guide_channels: channels of the guide map; 0 for no guide map.
        appearance: for histograms ``"fc"``, ``"conv1d"``, or a pair of one of them and arguments of `DensityModulator`;
            None for no such branch.
        appearance_channels: number of input channels for the histograms.
        null: value of a guide map without information.

    Raises:
        ValueError: if there is nothing to concatenate, or for settings that do not exist.

    Example:
        >>> backbone = UNet2015(2, in_channels=1 + 1 + 8, out_channels=2, channels=(4, 8), padding="same")
        >>> net = ConcatGuidedNet(backbone, guide_channels=1, appearance="fc", appearance_channels=8)
        >>> net(torch.randn(1, 1, 16, 16), guidance=Guidance(spatial=torch.rand(1, 1, 16, 16))).shape
        torch.Size([1, 2, 16, 16])
    """

    def __init__(
        self,
        backbone: nn.Module,
        guide_channels: int = 1,
        appearance: Named | None = None,
        appearance_channels: int = 8,
        null: float = 0.0,
    ) -> None:
        super().__init__()
        if guide_channels < 0 or (appearance is not None and appearance_channels < 1):
            raise ValueError(
                f"ConcatGuidedNet: guide_channels is {guide_channels}, appearance_channels {appearance_channels}; "
                "expected at least 0 and 1"
            )
        if not guide_channels and appearance is None:
            raise ValueError("ConcatGuidedNet: no guide_channels and no appearance; give it something to concatenate")
        self.backbone, self.guide_channels, self.null, self.density = backbone, guide_channels, float(null), None
        if appearance is not None:
            head, options = split_named("ConcatGuidedNet", "appearance", appearance)
            if head == "se":
                raise ValueError(
                    "ConcatGuidedNet: appearance is 'se', whose gates need the maps of a network; expected fc or conv1d"
                )
            self.density = DensityModulator([appearance_channels], head, **options)

    @keep_metadata
    def forward(self, x: Tensor, guidance: Guidance | Mapping[str, Tensor] | None = None, **arguments: Any) -> Any:
        """Runs the backbone on the concatenated channels; the arguments are those of `GuidedNet.forward`.

        Raises:
            ValueError: for guidance that the network does not take, or shapes that do not match.
        """
        axes = x.ndim - 2 if isinstance(x, Tensor) else 2
        check_image("ConcatGuidedNet", x, max(2, axes), None, network=self.backbone)
        known = as_guidance("ConcatGuidedNet", guidance)
        parts = [x]
        if self.guide_channels:
            shape = (x.shape[0], self.guide_channels, *x.shape[2:])
            parts.append(spatial_map("ConcatGuidedNet", known, shape, x, self.null))
        elif known.spatial is not None:
            raise ValueError("ConcatGuidedNet: spatial is given, but guide_channels is 0")
        if self.density is not None:
            values = self.density(known, x.shape[0])[0][0].to(x.dtype)
            parts.append(values.reshape(*values.shape, *(1,) * (x.ndim - 2)).expand(-1, -1, *x.shape[2:]))
        elif any(field is not None for field in (known.appearance, known.texture, known.valid)):
            raise ValueError(
                "ConcatGuidedNet: appearance, texture or valid is given, but the network takes none; set appearance"
            )
        return self.backbone(torch.cat(parts, 1), **arguments)
