"""The branch for histograms: a scale, and optionally a shift, for every channel from the histograms of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from medseg._arguments import checked_arguments, finite_number
from medseg.layers.guidance.density_heads import ConvHead, FCHead, GatedScales
from medseg.layers.guidance.guidance import Guidance, as_guidance, flags, guided_flags
from medseg.layers.guidance.modulation import Scale
from medseg.layers.keep_gradients import keep_gradients

__all__ = ["DensityModulator"]

HEADS = ("fc", "conv1d", "se")
_NAME = "DensityModulator"


@checked_arguments
class DensityModulator(nn.Module):
    """Scales for every channel of a network from histograms of regions and, optionally, a vector of texture features.

    The last layer is initially zero, so the scales are 1 and the shifts are 0: a new layer does not change the network.
    Scaling the channels by numbers that are predicted from a condition is known as FiLM (Perez et al. 2018,
    https://arxiv.org/abs/1709.07871).

    A share of a histogram is transformed to ``log(1 + bins * share)``: 0 for an empty bin, log 2 for the bins of a
    uniform histogram. Unknown histograms are replaced by a learned one. An empty region (all bins zero, such as a
    tumour that does not exist) is not the same as an unknown region.

    Args:
        channels: channels of each map to modulate.
        head: ``"fc"`` (fully connected layers), ``"conv1d"`` (VGG-16 along the bins, with the histograms as input
            channels) or ``"se"`` (fully connected layers, then a gate for every map that also depends on the means of
            its channels, `GatedScales`).
        signals: number of histograms of a sample: regions times channels of the image.
        bins: number of bins of a histogram.
        texture: length of a vector of other features, such as those of `medseg.transforms.texture.RegionGLCM`; 0 for
            none.
        shift: whether channels also get a shift; not possible for ``"se"``.
        widths: units of the two layers before the last one (for ``"fc"`` and ``"se"``: of any number of layers).
        dropout: dropout probability after each of these layers.
        head_channels: channels of the first block of ``"conv1d"``.

    Raises:
        ValueError: for an unknown head, numbers below 1, or a shift with ``"se"``.

    Example:
        >>> layer = DensityModulator(channels=[8, 16], bins=100)
        >>> known = Guidance(appearance=torch.full((3, 2, 1, 100), 0.01))
        >>> scales, shifts = layer(known)
        >>> [scale.shape for scale in scales], shifts
        ([torch.Size([3, 8]), torch.Size([3, 16])], [None, None])
    """

    def __init__(
        self,
        channels: Sequence[int],
        head: str = "fc",
        signals: int = 2,
        bins: int = 100,
        texture: int = 0,
        shift: bool = False,
        widths: Sequence[int] = (200, 200),
        dropout: float = 0.5,
        head_channels: int = 2,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"DensityModulator: head is {head!r}; expected one of {', '.join(HEADS)}")
        for name, value, least in (("signals", signals, 1), ("bins", bins, 1), ("texture", texture, 0)):
            if value != int(value) or value < least:
                raise ValueError(f"DensityModulator: {name} is {value}; expected a whole number from {least}")
        finite_number("DensityModulator", "dropout", dropout, 0, 1)
        if head == "se" and (shift or not widths):
            raise ValueError(
                f"DensityModulator: head is 'se', shift {shift}, widths {list(widths)}; expected no shift and at least "
                "one width"
            )
        self.channels, self.shift = list(channels), shift
        self.signals, self.bins, self.texture = signals, bins, texture
        out = sum(self.channels) * (2 if shift else 1)
        self.head: nn.Module
        self.gates = GatedScales(self.channels, widths[-1]) if head == "se" else None
        if head != "conv1d":
            self.head = FCHead(signals, bins, texture, 0 if head == "se" else out, widths, dropout)
        else:
            self.head = ConvHead(signals, bins, texture, out, widths, dropout, head_channels)
        self.null_density = nn.Parameter(0.02 * torch.randn(signals, bins))
        self.null_texture = nn.Parameter(0.02 * torch.randn(texture)) if texture else None

    def forward(
        self, guidance: Guidance | Mapping[str, Tensor] | None = None, batch: int | None = None
    ) -> tuple[list[Scale], list[Tensor | None]]:
        """Scales and shifts.

        Args:
            guidance: `Guidance` with histograms as ``appearance``; ``texture``, ``valid`` and ``guided`` are also used.
            batch: number of samples B, needed if nothing is known.

        Returns:
            For every map its scales ``[B, C]``, or for ``"se"`` a function that computes them from the map. For every
            map its shifts ``[B, C]`` or None.

        Raises:
            ValueError: for shapes that do not match.
        """
        guidance = as_guidance(_NAME, guidance)
        size = guidance.samples(batch)
        keep = guided_flags(_NAME, guidance, size, self.null_density.device)
        read = self._histograms(guidance.appearance, guidance.valid, keep, size)
        values = self.head(read, self._texture(guidance.texture, keep, size))
        count = len(self.channels)
        if self.gates is not None:
            return list(self.gates(values)), [None] * count
        parts = values.split(self.channels * (2 if self.shift else 1), 1)
        shifts: list[Tensor | None] = list(parts[count:]) if self.shift else [None] * count
        return [1 + part for part in parts[:count]], shifts

    def _histograms(self, given: Tensor | None, valid: Tensor | None, keep: Tensor | None, size: int) -> Tensor:
        null = self.null_density.expand(size, -1, -1)
        if given is None:
            if valid is not None:
                raise ValueError("DensityModulator: valid is given without appearance; pass both or neither")
            return null
        shape = list(given.shape)
        if given.ndim not in (3, 4) or shape[0] != size or shape[-1] != self.bins or not self._fits(shape[1:-1]):
            raise ValueError(
                f"DensityModulator: appearance has shape {shape}; expected [{size}, regions, channels, {self.bins}] "
                f"with regions * channels = {self.signals}, or [{size}, {self.signals}, {self.bins}]"
            )
        read = torch.log1p(self.bins * given.reshape(size, self.signals, self.bins).to(null))
        use = None if keep is None else keep[:, None]
        if valid is not None:
            there = flags(_NAME, "valid", valid, tuple(shape[:-1]), null.device).reshape(size, self.signals)
            use = there if use is None else use & there
        if use is None:
            return keep_gradients(read, [self.null_density])
        return torch.where(use[..., None], read, null)

    def _fits(self, shape: list[int]) -> bool:
        return shape[0] * (shape[1] if len(shape) > 1 else 1) == self.signals

    def _texture(self, texture: Tensor | None, keep: Tensor | None, size: int) -> Tensor | None:
        if self.null_texture is None:
            if texture is not None:
                raise ValueError(
                    "DensityModulator: texture is given, but the layer expects none; set texture to its length"
                )
            return None
        null = self.null_texture.expand(size, -1)
        if texture is None:
            return null
        if tuple(texture.shape) != tuple(null.shape):
            raise ValueError(f"DensityModulator: texture has shape {list(texture.shape)}; expected {list(null.shape)}")
        if keep is None:
            return keep_gradients(texture.to(null), [self.null_texture])
        return torch.where(keep[:, None], texture.to(null), null)
