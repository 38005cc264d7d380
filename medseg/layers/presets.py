"""Placements of sparse downsampling among the poolings of a network, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from monai.networks.layers.factories import Pool
from torch import nn

from medseg.layers.default_patch import default_patch
from medseg.layers.sparse_downsample import SparseDownsample

__all__ = ["make_poolings", "parse_placement"]

KINDS = ("max", "avg", "sd")


def parse_placement(placement: str) -> list[str]:
    """The pooling of every stage, from a text such as "max-sd-sd-max" or, with counts, "4sd", "6sd", "max-2sd-max".

    "max-sd-sd-max" is the recommended placement. "4sd" and "6sd" replace all poolings of a network that has 4 or 6.

    Args:
        placement: parts joined by "-"; each is max, avg or sd, with a number in front if it is repeated.

    Returns:
        One of "max", "avg" and "sd" per stage.

    Raises:
        ValueError: for an unknown part.

    Example:
        >>> parse_placement("max-2sd-max")
        ['max', 'sd', 'sd', 'max']
    """
    stages: list[str] = []
    for part in placement.lower().split("-"):
        match = re.fullmatch(r"([1-9]\d?)?(max|avg|sd)", part)
        if match is None:
            raise ValueError(
                f"placement {placement!r}: {part!r} is unknown; expected max, avg or sd, as in 'max-2sd-max'"
            )
        stages += [match.group(2)] * int(match.group(1) or 1)
    return stages


def make_poolings(
    placement: str,
    spatial_dims: int,
    channels: Sequence[int],
    size: int | Sequence[int],
    patch: Sequence[int] | None = None,
    **options: Any,
) -> nn.ModuleList:
    """The layers that halve the maps of a network, one per stage.

    Args:
        placement: see `parse_placement`.
        spatial_dims: 2 or 3.
        channels: channels at every stage.
        size: spatial size of the map at the first stage.
        patch: side of the patches at every stage (ignored for poolings). None: `default_patch`.
        options: other arguments of every `SparseDownsample`.

    Returns:
        Modules that halve every side.

    Raises:
        ValueError: if the numbers of stages differ, or a size cannot be halved that often.

    Example:
        >>> pools = make_poolings("max-sd", spatial_dims=2, channels=[4, 8], size=32)
        >>> [type(pool).__name__ for pool in pools], pools[1].patch
        (['MaxPool2d', 'SparseDownsample'], 4)
    """
    stages = parse_placement(placement)
    if len(channels) != len(stages) or (patch is not None and len(patch) != len(stages)):
        raise ValueError(
            f"placement {placement!r} has {len(stages)} stages; found {len(channels)} channels"
            + ("" if patch is None else f" and {len(patch)} patches")
        )
    sizes = [size] * spatial_dims if isinstance(size, int) else list(size)
    pools = nn.ModuleList()
    for i, kind in enumerate(stages):
        if any(s % 2 or s < 2 for s in sizes):
            raise ValueError(f"placement {placement!r}: size {sizes} at stage {i + 1} cannot be halved")
        if kind == "sd":
            side = default_patch(sizes) if patch is None else patch[i]
            pools.append(SparseDownsample(spatial_dims, channels[i], side, **options))
        else:
            pools.append(Pool[kind.upper(), spatial_dims](2))
        sizes = [s // 2 for s in sizes]
    return pools
