"""Heads that compute numbers per channel from histograms: fully connected, convolutions along the bins, or gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from medseg.layers.start_weights import start_weights

__all__ = ["ConvHead", "FCHead", "GatedScales", "last_layer"]

VGG_CONVS = (2, 2, 3, 3, 3)
"""Convolutions between the poolings of VGG-16."""


class FCHead(nn.Module):
    """Fully connected layers with ReLU and dropout, then a linear layer.

    Args:
        signals: number of histograms of a sample.
        bins: number of bins of a histogram.
        texture: length of the vector of texture features, which is appended to the histograms, or 0.
        out_features: number of outputs. 0: no last layer; the outputs are those of the layer before.
        widths: units of the layers before the last one.
        dropout: dropout probability after each of these layers.
    """

    def __init__(
        self, signals: int, bins: int, texture: int, out_features: int, widths: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = signals * bins + texture
        for width in widths:
            layers += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(dropout)]
            before = width
        self.layers = nn.Sequential(*layers)
        self.last = last_layer(before, out_features) if out_features else nn.Identity()

    def forward(self, histograms: Tensor, texture: Tensor | None = None) -> Tensor:
        """``[B, signals, bins]`` and ``[B, texture]`` to ``[B, out_features]``."""
        flat = histograms.flatten(1)
        return self.last(self.layers(flat if texture is None else torch.cat((flat, texture), 1)))


class ConvHead(nn.Module):
    """VGG-16 along the bins: 13 convolutions of length 3 in five blocks that halve, then one over the remaining length.

    Args:
        signals: number of histograms of a sample, the input channels of the first convolution.
        bins: number of bins of a histogram.
        texture: length of the vector of texture features, which is appended after the convolutions, or 0.
        out_features: number of outputs.
        widths: units of the two layers before the last one.
        dropout: dropout probability after each of these two layers.
        channels: channels of the first block; every other block has twice as many as the one before.
    """

    def __init__(
        self,
        signals: int,
        bins: int,
        texture: int,
        out_features: int,
        widths: Sequence[int],
        dropout: float,
        channels: int = 2,
    ) -> None:
        super().__init__()
        if len(widths) != 2:
            raise ValueError(f"DensityModulator: widths is {list(widths)}; the conv1d head expects 2 numbers")
        layers: list[nn.Module] = []
        before, length = signals, bins
        for block, convs in enumerate(VGG_CONVS):
            for _ in range(convs):
                layers += [nn.Conv1d(before, channels << block, 3, padding=1), nn.ReLU()]
                before = channels << block
            layers.append(nn.MaxPool1d(2, ceil_mode=True))
            length = -(-length // 2)
        layers += [nn.Conv1d(before, widths[0], length), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.mix = nn.Sequential(nn.Linear(widths[0] + texture, widths[1]), nn.ReLU(), nn.Dropout(dropout))
        start_weights(self.layers, "fan_in")  # in fourteen layers, values drawn by torch's default would vanish
        self.last = last_layer(widths[1], out_features)

    def forward(self, histograms: Tensor, texture: Tensor | None = None) -> Tensor:
        """``[B, signals, bins]`` and ``[B, texture]`` to ``[B, out_features]``."""
        found = self.layers(histograms)
        return self.last(self.mix(found if texture is None else torch.cat((found, texture), 1)))


class GatedScales(nn.Module):
    """Squeeze and excitation (Hu et al. 2018) with histograms: scales that also depend on the map that they scale.

    The means of the channels of a map and the features of the histograms are concatenated. A layer with a quarter as
    many units and ReLU follows, then a layer with ``2 sigmoid``: scales between 0 and 2, initially 1.

    Args:
        channels: channels of each map.
        features: number of features of the histograms.
    """

    def __init__(self, channels: Sequence[int], features: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(c + features, (c + features) // 4), nn.ReLU(), last_layer((c + features) // 4, c))
            for c in channels
        )

    def forward(self, features: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """For ``[B, features]``, a function per map that computes the scales ``[B, C]`` from the map ``[B, C, *S]``."""
        return [partial(_gated, gate, features) for gate in self.gates]


def _gated(gate: nn.Module, features: Tensor, u: Tensor) -> Tensor:
    means = u.flatten(2).mean(2).to(features.dtype)
    scales: Tensor = 2 * torch.sigmoid(gate(torch.cat((means, features), 1)))
    return scales


def last_layer(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer that is initially zero, so that it does not change what it modulates."""
    layer = nn.Linear(in_features, out_features)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
