"""The layer that halves the maps of a network (pooling, stride or sparse) and the one that doubles them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn

from medseg.layers import PatchIndex, SparseDownsample, SparseUpsample

__all__ = ["Down", "Up"]


class Down(nn.Module):
    """Halves every side of a map; also returns the original positions of the patches if they are moved.

    Args:
        spatial_dims: 2 or 3.
        kind: ``"max"``, ``"avg"`` (over 2^d voxels), ``"stride"`` (a convolution of stride 2) or ``"sparse"``
            (`SparseDownsample`).
        channels: channels of the map.
        out_channels: channels of the result. If the number differs, a convolution of side 1 follows the halving (not
            for ``"stride"``).
        options: arguments of the pooling, of the convolution (``kernel_size`` is 2 by default; larger ones are padded
            so that they halve the size), or of `SparseDownsample`.
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
            ``[B, out_channels, *S / 2]``, and for ``"sparse"`` the `PatchIndex` that `Up` needs, else None.
        """
        x, place = self.halve(x) if self.kind == "sparse" else (self.halve(x), None)
        return (x if self.project is None else self.project(x)), place


class Up(nn.Module):
    """Doubles every side of a map: in the way of the network, or by putting back the patches of a sparse `Down`.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the map.
        out_channels: channels of the result.
        own: the doubling layer of the network, ``channels`` to ``out_channels``; it is used if no patches are moved.
        sparse: whether the matching `Down` is sparse. Then a convolution of side 1 changes the channels,
            `SparseUpsample` puts the patches back, and ``own`` is not used.
        fill: ``fill`` of `SparseUpsample`: the values at positions without a patch.
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
            place: the second result of the matching `Down`.

        Raises:
            ValueError: if ``place`` is missing or not expected, because it is not of the matching `Down`.
        """
        if (place is None) is not (self.put_back is None):
            raise ValueError(
                f"Up: place is {'missing' if place is None else 'given'}, and the layer is "
                f"{'not ' if self.put_back is None else ''}sparse; give it the result of the Down of the same level"
            )
        x = self.upsample(x)
        return x if self.put_back is None or place is None else self.put_back(x, place)
