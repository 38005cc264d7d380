"""The literal definitions, scores materialised and differentiated by autograd: an independent oracle."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor


class Select(torch.autograd.Function):
    """select(0) = 1, select(u < 0) = 0 with derivative 0 at the maximum and ``slope`` below it."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.slope = slope
        return (u == 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grad * ctx.slope * (u < 0), None


def cut(x: Tensor, patch: int) -> Tensor:
    """Patches [B, N, C, p, ...] in raster order, one slice after the other."""
    corners = itertools.product(*(range(0, s, patch) for s in x.shape[2:]))
    return torch.stack([x[(..., *(slice(c, c + patch) for c in corner))] for corner in corners], dim=1)


def paste(patches: Tensor, sizes: tuple[int, ...], patch: int) -> Tensor:
    """Inverse of `cut`."""
    out = patches.new_zeros(patches.shape[0], patches.shape[2], *sizes)
    for m, corner in enumerate(itertools.product(*(range(0, s, patch) for s in sizes))):
        out[(..., *(slice(c, c + patch) for c in corner))] = patches[:, m]
    return out


def literal_patch_select(
    x: Tensor, keys: Tensor, queries: Tensor, patch: int, slope: float = 0.1, max_grad: bool = True
) -> Tensor:
    """out_m = sum_k select(S_mk - max_l S_ml) P_k, for scores without ties."""
    scores = queries @ keys.transpose(1, 2)
    top = scores.max(dim=2, keepdim=True).values
    weights = Select.apply(scores - (top if max_grad else top.detach()), slope)
    chosen = torch.einsum("bmk,bk...->bm...", weights, cut(x, patch))
    return paste(chosen, tuple(s // 2 for s in x.shape[2:]), patch)


def literal_score_argmax(keys: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Index and score by the whole matrix of scores."""
    value, index = (queries @ keys.transpose(1, 2)).max(dim=2)
    return index.int(), value


def problem(
    shape: tuple[int, ...], patch: int, rank: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Random x, keys and queries that fit together; all require a gradient."""
    generator = torch.Generator().manual_seed(seed)
    patches = 1
    for s in shape[2:]:
        patches *= s // patch
    slots = patches >> (len(shape) - 2)
    sizes = (shape, (shape[0], patches, rank), (slots, rank))
    x, keys, queries = (torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in sizes)
    return x, keys, queries


def surrogate_weights(
    scores: Tensor, given: Tensor, surrogate: str, slope: float, tau: float, max_grad: bool
) -> Tensor:
    """One-hot weights [.., M, N] of the given patches, with the surrogate's derivative to scores of the same shape."""
    one_hot = torch.nn.functional.one_hot(given, scores.shape[-1]).to(scores.dtype)
    if surrogate == "none":
        return one_hot
    if surrogate == "softmax":
        soft = slope * (scores / tau).softmax(-1)
        return one_hot + soft - soft.detach()
    top = (scores * one_hot).sum(-1, keepdim=True)  # the given patch stands for the maximum
    below = slope * (scores - (top if max_grad else top.detach())) * (1 - one_hot)
    return one_hot + below - below.detach()


def literal_slots(
    x: Tensor,
    keys: Tensor,
    queries: Tensor,
    given: Tensor,
    raster: bool,
    patch: int,
    surrogate: str,
    slope: float,
    tau: float,
    max_grad: bool,
) -> Tensor:
    """out_m = sum_k weight_mk P_k for the given patch of every query; raster order sorts the rows by patch."""
    weights = surrogate_weights(queries @ keys.transpose(1, 2), given, surrogate, slope, tau, max_grad)
    if raster:
        order = given.sort(dim=1, stable=True).indices
        weights = weights.gather(1, order[:, :, None].expand_as(weights))
    return _weighted(x, weights, patch)


def _weighted(x: Tensor, weights: Tensor, patch: int) -> Tensor:
    """Values and gradient of x come from the one-hot part alone; the gradient of the weights sees every patch."""
    hard = (weights.detach() > 0.5).to(x.dtype)
    patches = cut(x, patch)
    chosen = torch.einsum("bmk,bk...->bm...", hard, patches)
    soft = torch.einsum("bmk,bk...->bm...", weights - weights.detach(), patches.detach())
    return paste(chosen + soft, tuple(s // 2 for s in x.shape[2:]), patch)


def literal_shared(x: Tensor, scores: Tensor, patch: int, slope: float, max_grad: bool) -> Tensor:
    """The literal surrogate with one score per patch: every slot has the same row of scores."""
    slots = scores.shape[1] >> (x.ndim - 2)
    given = scores.detach().topk(slots).indices.sort(dim=1).values
    rows = scores[:, None].expand(-1, slots, -1)
    return _weighted(x, surrogate_weights(rows, given, "paper", slope, 1.0, max_grad), patch)


def softmax_shared(x: Tensor, scores: Tensor, patch: int, slope: float, tau: float) -> Tensor:
    """The softmax surrogate with one score per patch."""
    slots = scores.shape[1] >> (x.ndim - 2)
    given = scores.detach().topk(slots).indices.sort(dim=1).values
    rows = scores[:, None].expand(-1, slots, -1)
    return _weighted(x, surrogate_weights(rows, given, "softmax", slope, tau, True), patch)
