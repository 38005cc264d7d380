"""The branch for patches around clicks: scales for every channel from the image near the clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from medseg._arguments import checked_arguments, finite_number
from medseg.layers.guidance.density_heads import last_layer
from medseg.layers.guidance.guidance import Guidance, as_guidance, guided_flags
from medseg.layers.guidance.modulation import Scale
from medseg.layers.keep_gradients import keep_gradients
from medseg.layers.map_check import check_map
from medseg.layers.start_weights import start_weights

__all__ = ["PatchModulator"]

_NAME = "PatchModulator"


@checked_arguments
class PatchModulator(nn.Module):
    """Scales for every channel of a network from patches around clicks; it is called like `DensityModulator`.

    It consists of convolutions of side 3 with ReLU, the mean over all positions, a fully connected layer with ReLU and
    dropout, and a last layer that is initially zero, so that the scales are 1 and the shifts are 0. For samples without
    a click, the means are replaced by a learned vector.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of each map to modulate.
        signals: channels of the patches: number of sides of `medseg.transforms.guidance.ClickPatches` times image
            channels.
        shift: whether channels also get a shift.
        convs: channels of the convolutions.
        width: units of the fully connected layer.
        dropout: dropout probability after it.

    Raises:
        ValueError: for numbers below 1.

    Example:
        >>> layer = PatchModulator(spatial_dims=2, channels=[8, 16], signals=3, shift=True)
        >>> scales, shifts = layer(Guidance(appearance=torch.randn(2, 3, 16, 16)))
        >>> [scale.shape for scale in scales], [shift.shape for shift in shifts]
        ([torch.Size([2, 8]), torch.Size([2, 16])], [torch.Size([2, 8]), torch.Size([2, 16])])
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: Sequence[int],
        signals: int = 3,
        shift: bool = False,
        convs: Sequence[int] = (64, 64, 128),
        width: int = 200,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not convs or min(signals, width, *convs) < 1:
            raise ValueError(
                f"PatchModulator: signals is {signals}, convs {list(convs)}, width {width}; expected numbers from 1"
            )
        finite_number("PatchModulator", "dropout", dropout, 0, 1)
        self.spatial_dims, self.signals, self.channels, self.shift = spatial_dims, signals, list(channels), shift
        layers: list[nn.Module] = []
        for before, after in zip((signals, *convs), convs, strict=False):
            conv = Conv["conv", spatial_dims](before, after, 3, padding=1)
            start_weights(conv, "fan_in")
            layers += [conv, nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.mix = nn.Sequential(nn.Linear(convs[-1], width), nn.ReLU(), nn.Dropout(dropout))
        self.last = last_layer(width, sum(self.channels) * (2 if shift else 1))
        self.null = nn.Parameter(0.02 * torch.randn(convs[-1]))

    def forward(
        self, guidance: Guidance | Mapping[str, Tensor] | None = None, batch: int | None = None
    ) -> tuple[list[Scale], list[Tensor | None]]:
        """Scales and shifts.

        Args:
            guidance: `Guidance` with patches as ``appearance`` (None: no click in any sample); ``guided`` is False for
                samples without a click. ``texture`` and ``valid`` must be None.
            batch: number of samples B, needed if nothing is known.

        Returns:
            For every map its scales ``[B, C]``, and its shifts ``[B, C]`` or None.

        Raises:
            ValueError: for shapes that do not match, or if ``texture`` or ``valid`` is given.
        """
        guidance = as_guidance(_NAME, guidance)
        if guidance.texture is not None or guidance.valid is not None:
            raise ValueError("PatchModulator: texture or valid is given; expected only appearance and guided")
        values = self.last(self.mix(self._features(guidance, guidance.samples(batch))))
        count, parts = len(self.channels), values.split(self.channels * (2 if self.shift else 1), 1)
        shifts: list[Tensor | None] = list(parts[count:]) if self.shift else [None] * count
        return [1 + part for part in parts[:count]], shifts

    def _features(self, guidance: Guidance, size: int) -> Tensor:
        null, patches = self.null.expand(size, -1), guidance.appearance
        keep = guided_flags(_NAME, guidance, size, null.device)
        if patches is None:
            return keep_gradients(null, self.layers.parameters())
        if patches.ndim != self.spatial_dims + 2 or tuple(patches.shape[:2]) != (size, self.signals):
            sides = ", ".join(["size"] * self.spatial_dims)
            raise ValueError(
                f"PatchModulator: appearance has shape {list(patches.shape)}; expected patches "
                f"[{size}, {self.signals}, {sides}]"
            )
        check_map("PatchModulator", patches.to(null))
        found = self.layers(patches.to(null)).flatten(2).mean(2)
        if keep is None:
            return keep_gradients(found, [self.null])
        return torch.where(keep[:, None], found, null.to(found))
