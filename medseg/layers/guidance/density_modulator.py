"""The density branch: a scale, and if wanted a shift, for every channel from the histograms of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from medseg.layers.guidance.density_heads import ConvHead, FCHead, GatedScales
from medseg.layers.guidance.guidance import Guidance, as_guidance, flags, guided_flags
from medseg.layers.guidance.modulation import Scale
from medseg.layers.keep_gradients import keep_gradients

__all__ = ["DensityModulator"]

HEADS = ("fc", "conv1d", "se")
_NAME = "DensityModulator"


class DensityModulator(nn.Module):
    """Numbers for every channel of a network from the histograms of regions (and from a vector of texture features).

    The last layer starts at zero, so the scale is 1 and the shift 0 at first: a network modulated by them starts as
    the network itself. Scales of channels that a condition predicts are FiLM (Perez et al. 2018,
    https://arxiv.org/abs/1709.07871).

    Shares of a histogram are read as ``log(1 + bins * share)``: 0 for an empty bin, log 2 for an even histogram.
    Histograms that are not given are replaced by a learned one, which no region has: an empty region (all zero, a
    tumour that is not there) and an unknown one are different things.

    Args:
        channels: of the maps to modulate, one after the other.
        head: ``"fc"`` (full layers), ``"conv1d"`` (VGG-16 along the bins, the histograms as its input channels) or
            ``"se"`` (full layers, then a gate for every map that also sees the means of its channels, `GatedScales`).
        signals: histograms of a sample: regions times channels of the image.
        bins: of each.
        texture: length of a vector of further features, such as those of `medseg.transforms.texture.RegionGLCM`; 0:
            none.
        shift: whether channels also get a shift; ``"se"`` has none.
        widths: of the two layers before the last (``"fc"``, ``"se"``: any number of them from 1).
        dropout: after each of those, in training.
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
            guidance: `Guidance` with histograms as ``appearance``; ``texture``, ``valid`` and ``guided`` are read too.
            batch: B, where nothing is known.

        Returns:
            For every map its scale ``[B, C]``, or with ``"se"`` the function that makes it of the map; and its shift
            ``[B, C]`` or None.

        Raises:
            ValueError: for shapes that do not fit.
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
                raise ValueError("DensityModulator: texture is given, but none is expected; set texture to its length")
            return None
        null = self.null_texture.expand(size, -1)
        if texture is None:
            return null
        if tuple(texture.shape) != tuple(null.shape):
            raise ValueError(f"DensityModulator: texture has shape {list(texture.shape)}; expected {list(null.shape)}")
        if keep is None:
            return keep_gradients(texture.to(null), [self.null_texture])
        return torch.where(keep[:, None], texture.to(null), null)
