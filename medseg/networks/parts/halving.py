"""A network's halving and the doubling that undoes it, pooled, strided or sparse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn

from medseg.layers import PatchIndex, SparseDownsample, SparseUpsample

__all__ = ["Down", "Up"]


class Down(nn.Module):
    """Halves every side of a map, and tells where the patches came from if it moved any.

    Args:
        spatial_dims: 2 or 3.
        kind: ``"max"``, ``"avg"`` (over 2^d voxels), ``"stride"`` (a convolution of stride 2) or ``"sparse"``
            (`SparseDownsample`).
        channels: channels of the map.
        out_channels: channels of the result. All but ``"stride"`` reach another number by a convolution of side 1
            after the halving.
        options: arguments of the layer: of the pooling, of the convolution (``kernel_size`` 2 by default, any other is
            padded to halve), or of `SparseDownsample`.
    """

    def __init__(
        self, spatial_dims: int, kind: str, channels: int, out_channels: int, options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        options, conv = dict(options or {}), Conv["conv", spatial_dims]
        self.kind = kind
        self.halve: nn.Module
        if kind == "stride":
            side = options.pop("kernel_size", 2)
            options.setdefault("padding", (side - 1) // 2)
            self.halve = conv(channels, out_channels, side, stride=2, **options)
        elif kind == "sparse":
            self.halve = SparseDownsample(spatial_dims, channels, return_index=True, **options)
        else:
            self.halve = Pool[kind, spatial_dims](**{"kernel_size": 2, **options})
        same = kind == "stride" or channels == out_channels
        self.project = None if same else conv(channels, out_channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, PatchIndex | None]:
        """Halves.

        Args:
            x: ``[B, channels, *S]``.

        Returns:
            ``[B, out_channels, *S / 2]``, and for ``"sparse"`` where the patches came from, else None: `Up` wants it.
        """
        x, place = self.halve(x) if self.kind == "sparse" else (self.halve(x), None)
        return (x if self.project is None else self.project(x)), place


class Up(nn.Module):
    """Doubles every side of a map: the network's own way, or by returning the patches of a sparse `Down`.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the map.
        out_channels: channels of the result.
        own: the network's own doubling, ``channels`` to ``out_channels``; runs where no patch was moved.
        sparse: whether the matching `Down` is sparse: then a convolution of side 1 changes the channels, and
            `SparseUpsample` puts the patches back. ``own`` is not kept.
        fill: of `SparseUpsample`, what stands where no patch was kept.
    """

    def __init__(
        self, spatial_dims: int, channels: int, out_channels: int, own: nn.Module, sparse: bool, fill: str = "zeros"
    ) -> None:
        super().__init__()
        self.upsample = Conv["conv", spatial_dims](channels, out_channels, 1) if sparse else own
        self.put_back = SparseUpsample(spatial_dims, fill) if sparse else None

    def forward(self, x: Tensor, place: PatchIndex | None = None) -> Tensor:
        """Doubles.

        Args:
            x: ``[B, channels, *S]``.
            place: what the matching `Down` returned.

        Raises:
            ValueError: if ``place`` is missing or not wanted: the Down is another one.
        """
        if (place is None) is not (self.put_back is None):
            raise ValueError(
                f"Up: place is {'missing' if place is None else 'given'}, and the layer is "
                f"{'not ' if self.put_back is None else ''}sparse; hand it the result of the Down of its own level"
            )
        x = self.upsample(x)
        return x if self.put_back is None or place is None else self.put_back(x, place)
