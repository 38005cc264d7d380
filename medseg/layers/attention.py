"""Dual attention: between all positions of a map and between all of its channels, with bounded memory."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from medseg._arguments import checked_arguments
from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.map_check import check_map

__all__ = ["ChannelAttention", "PositionAttention", "bounded_attention"]

LIMIT = 1 << 20
"""Largest number of elements of the affinity matrix in memory at a time: 4 MiB in float32, which fits into caches."""
ENERGIES = ("max_minus", "plain")


def bounded_attention(query: Tensor, key: Tensor, value: Tensor, limit: int = LIMIT) -> Tensor:
    """``softmax(query key^T) value``, without storing the whole N x N matrix in the forward or the backward pass.

    Queries are processed in blocks of rows. In the backward pass each block is computed again instead of being kept.
    Second derivatives are not available if there is more than one block.

    Args:
        query: ``[B, N, K]``; it is not divided by sqrt(K).
        key: ``[B, M, K]``.
        value: ``[B, M, C]``.
        limit: largest number of elements of a block; a block has at least one row per image. Up to three blocks are
            in memory at the same time.

    Returns:
        ``[B, N, C]``.
    """
    rows = max(1, limit // (key.shape[0] * key.shape[1]))
    if rows >= query.shape[1]:
        return _weights(query, key) @ value
    # Traced and compiled programs plan their memory themselves; they keep the blocks of the forward pass.
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return torch.cat([_weights(part, key) @ value for part in query.split(rows, 1)], 1)
    result: Tensor = _ByRows.apply(query, key, value, rows)
    return result


def _weights(query: Tensor, key: Tensor) -> Tensor:
    """The softmax in the type of the query, computed in float32 for half types."""
    energy = query @ key.transpose(1, 2)
    wide = torch.float32 if energy.dtype in (torch.bfloat16, torch.float16) else energy.dtype
    return torch.softmax(energy, -1, dtype=wide).to(query.dtype)


class _ByRows(torch.autograd.Function):
    """Attention in blocks of rows; the gradient of a softmax row p is ``p (g - sum(p g))``."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, rows: int) -> Tensor:
        out = value.new_empty(*query.shape[:2], value.shape[2])
        for start in range(0, query.shape[1], rows):
            out[:, start : start + rows] = _weights(query[:, start : start + rows], key) @ value
        ctx.save_for_backward(query, key, value, out)
        ctx.rows = rows
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, out = ctx.saved_tensors
        d_query, d_key, d_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        inner = (grad * out).sum(-1, keepdim=True)
        for start in range(0, query.shape[1], ctx.rows):
            run = slice(start, start + ctx.rows)
            weights = _weights(query[:, run], key)
            d_value += weights.transpose(1, 2) @ grad[:, run]
            d_energy = (grad[:, run] @ value.transpose(1, 2)).sub_(inner[:, run]).mul_(weights)
            d_query[:, run] = d_energy @ key
            d_key += d_energy.transpose(1, 2) @ query[:, run]
        return d_query, d_key, d_value, None


@checked_arguments
class PositionAttention(nn.Module):
    """Position attention of DANet (Fu et al. 2019, https://arxiv.org/abs/1809.02983, section 3.2), 2-D and 3-D.

    ``x_i + gamma * sum over positions j of softmax_j(q(x_i) . k(x_j)) v(x_j)``, without a scale in the softmax. gamma
    starts at 0. The N x N matrix of a map with N positions is never stored as a whole, see `bounded_attention`.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the map.
        reduction: queries and keys have ``channels // reduction`` channels.

    Raises:
        ValueError: if the reduction is larger than the number of channels.

    Example:
        >>> layer = PositionAttention(spatial_dims=2, channels=16)
        >>> layer(torch.randn(1, 16, 12, 10)).shape
        torch.Size([1, 16, 12, 10])
    """

    def __init__(self, spatial_dims: int, channels: int, reduction: int = 8) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(f"PositionAttention: reduction is {reduction}; expected 1 to {channels}, the channels")
        conv, self.channels = Conv["conv", spatial_dims], channels
        self.query, self.key = conv(channels, channels // reduction, 1), conv(channels, channels // reduction, 1)
        self.value, self.gamma = conv(channels, channels, 1), nn.Parameter(torch.zeros(1))

    @keep_metadata
    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *S]`` to a map of the same shape.

        Raises:
            ValueError: for another number of channels.
        """
        _check("PositionAttention", x, self.channels, self)
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        seen = bounded_attention(query, key, value).transpose(1, 2).reshape(x.shape)
        return x + self.gamma * seen


@checked_arguments
class ChannelAttention(nn.Module):
    """Channel attention of DANet (Fu et al. 2019, https://arxiv.org/abs/1809.02983, section 3.3), in any dimensions.

    ``x + gamma * A x``, where A is the C x C softmax of an energy computed from ``E = x x^T``, one row per channel.
    gamma starts at 0.

    Args:
        channels: channels of the map. None: any number.
        energy: ``"max_minus"``: the row maximum of E minus E, as in the authors' code (a channel attends to channels
            that differ from it); ``"plain"``: E, as in the paper.

    Raises:
        ValueError: for an unknown energy.

    Example:
        >>> layer = ChannelAttention(channels=16)
        >>> layer(torch.randn(1, 16, 8, 8, 4)).shape
        torch.Size([1, 16, 8, 8, 4])
    """

    def __init__(self, channels: int | None = None, energy: str = "max_minus") -> None:
        super().__init__()
        if energy not in ENERGIES:
            raise ValueError(f"ChannelAttention: energy is {energy!r}; expected one of {', '.join(ENERGIES)}")
        self.channels, self.energy, self.gamma = channels, energy, nn.Parameter(torch.zeros(1))

    @keep_metadata
    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *S]`` to a map of the same shape.

        Raises:
            ValueError: for another number of channels.
        """
        _check("ChannelAttention", x, self.channels, None)
        flat = x.flatten(2)
        energy = flat @ flat.transpose(1, 2)
        if self.energy == "max_minus":
            energy = energy.amax(-1, keepdim=True) - energy
        return x + self.gamma * (torch.softmax(energy, -1) @ flat).reshape(x.shape)


def _check(owner: str, x: Tensor, channels: int | None, weights: nn.Module | None) -> None:
    if x.ndim < 3 or (channels is not None and x.shape[1] != channels):
        raise ValueError(f"{owner}: input has shape {list(x.shape)}; expected [B, {channels or 'C'}, *S]")
    check_map(owner, x, weights, samples=True)
