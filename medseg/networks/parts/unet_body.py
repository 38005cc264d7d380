"""Common body of the U-Nets: a contracting path, an expanding path, and skips between them; with or without padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from torch import Tensor, nn

from medseg.layers import PatchIndex
from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.layers.quadtree_conv import AnyPlan
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.planned import PlannedSequential, run
from medseg.networks.parts.plug_in import PLAIN, PlugIn

__all__ = ["UNetBody", "UNetWidths"]

PADDINGS = ("valid", "same")
_LOSS = 4  # voxels along each axis that are lost in two convolutions of side 3 without padding


class UNetWidths(NamedTuple):
    """Numbers of channels of a U-Net, finest level first.

    Attributes:
        encoder: channels after each of the two convolutions of every level.
        up: channels after the doubling to every level but the lowest.
        decoder: channels after each of the two convolutions that follow a doubling.
    """

    encoder: Sequence[tuple[int, int]]
    up: Sequence[int]
    decoder: Sequence[tuple[int, int]]


class UNetBody(nn.Module):
    """A U-Net, defined by its numbers of channels; the networks of the papers are derived from it.

        image -> two 3^d convolutions -------- crop, concatenate -> two convolutions -> 1x1 -> logits
                     halve -> two convolutions -----> ... -> double

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        widths: numbers of channels.
        padding: ``"valid"``: convolutions have no padding, and the result is smaller than the image (`output_size`);
            ``"same"``: padding by zeros keeps the size.
        act: activation after each convolution.
        norm: normalisation before each activation, or None.
        dropout: dropout at the end of the contracting path, after the two lowest levels: a probability, MONAI's name
            and options, or None.
        bias: whether the convolutions of side 3 have a bias.
        up_bias: whether the up-convolutions have a bias.
        down: how maps are halved, see `PlugIn`.
        conv: type of the convolutions, see `PlugIn`.

    Raises:
        ValueError: for values that do not exist or cannot be combined.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        widths: UNetWidths,
        padding: str = "same",
        act: Named = "relu",
        norm: Named | None = None,
        dropout: Dropout = None,
        bias: bool = True,
        up_bias: bool = True,
        down: Named = "max",
        conv: Named = PLAIN,
    ) -> None:
        super().__init__()
        name, levels = type(self).__name__, len(widths.encoder)
        if padding not in PADDINGS:
            raise ValueError(f"{name}: padding is {padding!r}; expected 'valid' or 'same'")
        if levels < 2:
            raise ValueError(f"{name}: channels has {levels} levels; expected at least 2")
        self.in_channels, self.padding, self.levels = in_channels, padding, levels
        self.plug = PlugIn(name, spatial_dims, levels - 1, down, conv)
        if padding == "valid" and (self.plug.conv_name != PLAIN or "sparse" in self.plug.kinds):
            raise ValueError(
                f"{name}: padding is 'valid' with down={down!r} and conv={conv!r}; sparse halving and adaptive "
                "convolution need padding that keeps the size of maps: set padding='same'"
            )
        self._details: dict[str, Any] = {"act": act, "norm": norm, "bias": bias}
        before = [in_channels, *(pair[1] for pair in widths.encoder)]
        lowest = range(levels - 2, levels)
        self.encoder = nn.ModuleList(
            self._two(i, before[i], pair, dropout if i in lowest else None) for i, pair in enumerate(widths.encoder)
        )
        self.downs = nn.ModuleList(self.plug.down(i, before[i + 1]) for i in range(levels - 1))
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        above = [*(pair[1] for pair in widths.decoder), widths.encoder[-1][1]]
        for i, (up, pair) in enumerate(zip(widths.up, widths.decoder, strict=True)):
            transposed = Conv["convtrans", spatial_dims](above[i + 1], up, 2, stride=2, bias=up_bias)
            self.ups.append(self.plug.up(i, above[i + 1], up, transposed))
            self.decoder.append(self._two(i, widths.encoder[i][1] + up, pair, None))
        self.head = Conv["conv", spatial_dims](above[0], out_channels, 1)

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The maps of all levels of the contracting path, from high to low resolution.

        Args:
            x: the image, see `forward`.
            plan: see `forward`.
        """
        self.output_size(self._checked(x))
        return self._contract(x, self.plug.plan(x, plan))[0]

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Segments.

        Args:
            x: image ``[B, in_channels, *S]`` of a size that `output_size` accepts.
            plan: partition of the image, only for ``conv="quadtree"``. None: it is made from x.

        Returns:
            Logits ``[B, out_channels, *output_size(S)]``.

        Raises:
            ValueError: for channels, sizes or plans that do not match.
        """
        self.output_size(self._checked(x))
        plan = self.plug.plan(x, plan)
        maps, places = self._contract(x, plan)
        y = maps.pop()
        for up, block, skip, place in zip(
            reversed(self.ups), reversed(self.decoder), reversed(maps), reversed(places), strict=True
        ):
            y = up(y, place)
            y = run(block, torch.cat((_centre(skip, y), y), 1), plan)
        return self.head(y)

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Spatial size of the result for an image of spatial size ``size``; the result is the centre of the image.

        Raises:
            ValueError: for a size that cannot be halved as often as the network halves it; the message names sizes that
                can.
        """
        if self.padding == "same":
            step = 2 ** (self.levels - 1)
            if any(s % step or s < step for s in size):
                raise ValueError(
                    f"{type(self).__name__}: image of size {list(size)}; expected multiples of {step} along every "
                    f"axis: pad it (monai.transforms.DivisiblePad, k={step}) or crop it"
                )
            return tuple(size)
        results = [self._valid(s) for s in size]
        if None in results:
            step, least = 2 ** (self.levels - 1), next(s for s in range(1, 10**6) if self._valid(s))
            near = [s if self._valid(s) else max(least, s + (least - s) % step) for s in size]
            raise ValueError(
                f"{type(self).__name__}: image of size {list(size)} with padding='valid'; expected sides of {least} "
                f"plus a multiple of {step}, such as {near}: mirror the border (medseg.inference.overlap_tile) or crop"
            )
        return tuple(s for s in results if s is not None)

    def _valid(self, side: int) -> int | None:
        """Side of the result without padding; None if the side of a map is odd or too small."""
        for level in range(self.levels):
            side -= _LOSS
            if side < 1 or (level < self.levels - 1 and side % 2):
                return None
            side = side // 2 if level < self.levels - 1 else side
        for _ in range(self.levels - 1):
            side = 2 * side - _LOSS
        return side if side > 0 else None

    def _checked(self, x: Tensor) -> tuple[int, ...]:
        check_image(type(self).__name__, x, self.plug.spatial_dims, self.in_channels, network=self)
        return tuple(x.shape[2:])

    def _contract(self, x: Tensor, plan: AnyPlan | None) -> tuple[list[Tensor], list[PatchIndex | None]]:
        maps, places = [run(self.encoder[0], x, plan)], []
        for down, block in zip(self.downs, self.encoder[1:], strict=True):
            x, place = down(maps[-1])
            maps.append(run(block, x, plan))
            places.append(place)
        return maps, places

    def _two(self, level: int, channels: int, widths: tuple[int, int], dropout: Dropout) -> PlannedSequential:
        """Two convolutions of side 3, each followed by normalisation and activation."""
        dims, norm = self.plug.spatial_dims, self._details["norm"]
        padding = {"padding": 0} if self.padding == "valid" else {}
        layers: list[nn.Module] = []
        for before, width in zip((channels, widths[0]), widths, strict=True):
            layers.append(self.plug.conv(level, before, width, 3, bias=self._details["bias"], **padding))
            if norm is not None:
                layers.append(get_norm_layer(norm, dims, width))
            layers.append(get_act_layer(self._details["act"]))
        if dropout:
            layers.append(dropout_layer(dropout))
        return PlannedSequential(*layers)


def _centre(x: Tensor, like: Tensor) -> Tensor:
    """The central part of a map, with the spatial size of another map."""
    for axis in range(2, x.ndim):
        x = x.narrow(axis, (x.shape[axis] - like.shape[axis]) // 2, like.shape[axis])
    return x
