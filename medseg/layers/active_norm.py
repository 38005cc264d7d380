"""Normalisation after the rounds of an adaptive convolution, with statistics over active positions only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medseg._arguments import checked_arguments
from medseg.layers.named import Named, split_named

__all__ = ["ActiveNorm"]

_CODES = {None: 0, "batch": 1, "instance": 2}


@checked_arguments
class ActiveNorm(nn.Module):
    """Scale, shift and running statistics of the normalisation after each round of a `ConvRounds` layer.

    The op that runs the rounds computes mean and variance; this module holds the learned scale and shift and the
    running statistics. Batch statistics are taken over all active positions of the round in the batch, instance
    statistics over those of one sample. A round without active positions does not change the running statistics. In
    evaluation the running statistics of ``"batch"`` are merged into the convolution (`fold`), so that normalisation
    costs nothing. ``"instance"`` has no running statistics.

    Args:
        name: None, ``"batch"``, ``"instance"``, or a pair ``(name, {"eps": ..., "momentum": ..., "affine": ...})`` with
            the meaning and the defaults of `torch.nn.BatchNorm2d` (``momentum`` only for ``"batch"``); ``affine``
            is True by default for both.
        rounds: number of rounds R.
        channels: channels C.

    Raises:
        ValueError: for an unknown name or option.

    Example:
        >>> norm = ActiveNorm("batch", rounds=2, channels=4)
        >>> norm.running_mean.shape, norm.scale.shape
        (torch.Size([2, 4]), torch.Size([2, 4]))
        >>> norm.measures, norm.eval().measures
        (True, False)
    """

    def __init__(self, name: Named | None, rounds: int, channels: int) -> None:
        super().__init__()
        self.kind, options = _parse(name)
        self.eps = float(options.pop("eps", 1e-5))
        self.momentum = float(options.pop("momentum", 0.1))
        affine = bool(options.pop("affine", True)) and self.kind is not None
        if options:
            raise ValueError(f"norm {self.kind!r} has no option {', '.join(options)}; expected eps, momentum or affine")
        self.scale = nn.Parameter(torch.ones(rounds, channels)) if affine else None
        self.shift = nn.Parameter(torch.zeros(rounds, channels)) if affine else None
        if self.kind == "batch":
            self.register_buffer("running_mean", torch.zeros(rounds, channels))
            self.register_buffer("running_var", torch.ones(rounds, channels))

    running_mean: Tensor
    running_var: Tensor

    @property
    def measures(self) -> bool:
        """Whether statistics of the data are used now: for batch norm in training, for instance norm always."""
        return self.kind == "instance" or (self.kind == "batch" and self.training)

    @property
    def code(self) -> int:
        """Code for `medseg.ops.quadtree_conv` of the statistics to compute: 0 none, 1 batch, 2 instance."""
        return _CODES[self.kind] if self.measures else 0

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Merges the running statistics, scale and shift into the convolutions.

        Args:
            weight: ``[R, C, C, k, ...]``.
            bias: ``[R, C]`` or None.

        Returns:
            ``(weight, bias)`` of the same shapes. A convolution with them equals ``norm(conv)`` in evaluation.
        """
        gain = torch.rsqrt(self.running_var + self.eps)
        if self.scale is not None:
            gain = gain * self.scale
        offset = -self.running_mean if bias is None else bias - self.running_mean
        offset = offset * gain if self.shift is None else torch.addcmul(self.shift, offset, gain)
        return weight * gain.reshape(*gain.shape, *(1,) * (weight.ndim - 2)), offset

    @torch.no_grad()
    def remember(self, stats: Tensor, positions: Tensor) -> None:
        """Moves the running statistics of batch norm towards those of this batch; those of empty rounds do not change.

        Args:
            stats: ``[R, 1, 2, C]``, mean and reciprocal standard deviation (biased variance plus eps).
            positions: ``[R]``, number of active positions that the statistics were computed from.
        """
        if self.kind != "batch":
            return
        mean, rstd = stats[:, 0, 0], stats[:, 0, 1]
        count = positions.to(mean.dtype)[:, None]
        variance = (rstd.square().reciprocal() - self.eps).clamp_min(0) * (count / (count - 1).clamp_min(1))
        step = self.momentum * (count > 0).to(mean.dtype)
        self.running_mean.add_(step * (torch.nan_to_num(mean) - self.running_mean))
        self.running_var.add_(step * (torch.nan_to_num(variance) - self.running_var))

    def extra_repr(self) -> str:
        """Name and options, for ``print``."""
        return f"{self.kind}, eps={self.eps}, momentum={self.momentum}, affine={self.scale is not None}"


def _parse(name: Named | None) -> tuple[str | None, dict[str, Any]]:
    if name is None:
        return None, {}
    kind, options = split_named("ActiveNorm", "norm", name)
    if kind not in _CODES:
        raise ValueError(f"norm is {kind!r}; expected None, 'batch' or 'instance' (statistics over active positions)")
    return kind, options
