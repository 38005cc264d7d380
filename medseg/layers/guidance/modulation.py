"""The effect of guidance on one map: scale and shift of its channels, bias of its voxels, then a learned affine."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor

__all__ = ["Modulation", "Scale"]

Scale: TypeAlias = Tensor | Callable[[Tensor], Tensor]
"""Scales ``[B, C]`` of a map ``[B, C, *S]``, or a function that computes them from the map."""


class Modulation(NamedTuple):
    """``(scale u + shift + bias) gain + offset`` for a map u ``[B, C, *S]``; fields that are None are left out.

    Attributes:
        scale: scales from the appearance, ``[B, C]``, or a function that computes them from u.
        shift: shifts from the appearance, ``[B, C]``.
        bias: biases from the guide map, ``[B, C, *S]``.
        gain: learned factors, ``[C]``.
        offset: learned offsets, ``[C]``.

    Example:
        >>> u = torch.ones(1, 2, 1, 3)
        >>> Modulation(scale=torch.tensor([[2.0, 3.0]]), gain=torch.tensor([1.0, 10.0]))(u)[0, :, 0, 0]
        tensor([ 2., 30.])
    """

    scale: Scale | None = None
    shift: Tensor | None = None
    bias: Tensor | None = None
    gain: Tensor | None = None
    offset: Tensor | None = None

    def __call__(self, u: Tensor) -> Tensor:
        """The modulated map, in the dtype of u."""
        dtype, ones = u.dtype, (1,) * (u.ndim - 2)
        if self.scale is not None:
            scale = self.scale if isinstance(self.scale, Tensor) else self.scale(u)
            u = u * scale.to(dtype).reshape(*scale.shape, *ones)
        if self.shift is not None:
            u = u + self.shift.to(dtype).reshape(*self.shift.shape, *ones)
        if self.bias is not None:
            u = u + self.bias.to(dtype)
        if self.gain is not None:
            u = u * self.gain.to(dtype).reshape(-1, *ones)
        if self.offset is not None:
            u = u + self.offset.to(dtype).reshape(-1, *ones)
        return u
