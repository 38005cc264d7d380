"""Registers the adaptive layers in the layer factories of MONAI; `import medseg.layers` runs this.

``Pool["sparse", d]`` is `SparseDownsample` with its ``spatial_dims`` set, so that
``get_pool_layer(("sparse", {"channels": 16, "patch": 4}), spatial_dims=2)`` builds one. It can be used in networks that
take the name of a pooling together with its arguments, or a module. Blocks that build a named pooling from
``kernel_size`` alone cannot use it, because it needs the number of channels.

``Conv["quadtree", d]`` takes the arguments of a convolution and returns a `QuadtreeConv`:
``Conv["quadtree", 2](16, 32, kernel_size=3, padding=1, rounds=2)``. It can be used in code that builds convolutions
from a name or a constructor, with stride 1 and padding that keeps the size. The blocks of MONAI (`Convolution`,
`ResidualUnit`, those of `UNet` and `BasicUNet`) always build plain convolutions: replace these by
`medseg.networks.adapt`.

``Act["hardswish"]`` is `torch.nn.Hardswish`, x ReLU6(x + 3) / 6, which the factories of MONAI do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from monai.networks.layers.factories import Act, Conv, Pool
from torch import nn

from medseg.layers.quadtree_conv import QuadtreeConv
from medseg.layers.sparse_downsample import SparseDownsample

__all__: list[str] = []


@Pool.factory_function("sparse")
def _sparse_pool(dim: int) -> partial[SparseDownsample]:
    return partial(SparseDownsample, dim)


@Act.factory_function("hardswish")
def _hardswish() -> type[nn.Hardswish]:
    return nn.Hardswish


@Conv.factory_function("quadtree")
def _quadtree_conv(dim: int) -> Callable[..., QuadtreeConv]:
    return partial(_quadtree_in_place_of_convolution, dim)


def _quadtree_in_place_of_convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    bias: bool = True,
    **options: Any,
) -> QuadtreeConv:
    """A `QuadtreeConv` from the arguments of a convolution; it has a root kernel of side 1 if the channels differ."""
    side = _one("kernel_size", kernel_size)
    for name, value, expected in (
        ("stride", _one("stride", stride), 1),
        ("dilation", _one("dilation", dilation), 1),
        ("groups", groups, 1),
        ("padding", None if padding in (None, "same") else _one("padding", padding), side // 2),  # type: ignore[arg-type]
    ):
        if value not in (None, expected):
            raise ValueError(
                f"Conv['quadtree', {spatial_dims}]: {name} is {value}; expected {expected}: the layer keeps the size"
            )
    options.setdefault("root_kernel", None if in_channels == out_channels else 1)
    return QuadtreeConv(spatial_dims, in_channels, out_channels, kernel_size=side, bias=bias, **options)


def _one(name: str, value: int | Sequence[int]) -> int:
    values = {value} if isinstance(value, int) else set(value)
    if len(values) != 1:
        raise ValueError(f"Conv['quadtree']: {name} is {value}; expected the same along every axis")
    return int(values.pop())
