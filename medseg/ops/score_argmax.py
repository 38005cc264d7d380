"""``medseg::score_argmax``: for every query the key of the highest score, without the matrix of scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import check_floating, check_same_device, check_scores, no_second_derivative
from medseg.ops._load import register_op

_CHUNK = 1024  # keys per block of the reference


def score_argmax(keys: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Finds, for every query, the key with the largest inner product.

    ``score[b, m] = max_k <keys[b, k], queries[m]>`` and ``index[b, m]`` is its k. A tie goes to the lowest index.
    NaN counts as larger than every number, as in ``torch.argmax``: the first NaN score wins and is returned, so that
    a broken input is noticed. The N x M scores are never stored. ``score`` is differentiable (only the winners receive
    a gradient), ``index`` is not.

    Args:
        keys: ``[B, N, r]``, N >= 1, r >= 1, any strides; float16 and bfloat16 are computed in float32.
        queries: ``[M, r]``, shared by the batch, or ``[B, M, r]``.

    Returns:
        ``(index, score)``: int32 ``[B, M]`` and ``[B, M]`` in float32 (float64 for float64 input).

    Raises:
        ValueError: for shapes or devices that do not fit.
        TypeError: for dtypes that are not floating, or float64 mixed with another.

    Example:
        >>> import torch
        >>> from medseg.ops import score_argmax
        >>> keys, queries = torch.tensor([[[1.0], [4.0], [2.0]]]), torch.tensor([[1.0], [-1.0]])
        >>> index, score = score_argmax(keys, queries)
        >>> index.tolist(), score.tolist()
        ([[1, 0]], [[4.0, -1.0]])
    """
    check_floating("score_argmax", keys=keys, queries=queries)
    check_same_device("score_argmax", keys=keys, queries=queries)
    check_scores("score_argmax", keys, queries)
    keys, queries = lift_scores("score_argmax", keys, queries)
    return torch.ops.medseg.score_argmax(keys, queries)


def lift_scores(op: str, keys: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and queries in the dtype of the selection: float64 if both are, else float32 (also under autocast)."""
    if (keys.dtype == torch.float64) != (queries.dtype == torch.float64):
        raise TypeError(
            f"{op}: keys are {keys.dtype} and queries {queries.dtype}; expected float64 for both or for neither"
        )
    dtype = torch.float64 if keys.dtype == torch.float64 else torch.float32
    return keys.to(dtype), queries.to(dtype)


def reference_score_argmax(keys: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """The op in plain PyTorch, blocks of keys at a time."""
    with torch.autocast(keys.device.type, enabled=False):
        batch, count = keys.shape[0], queries.shape[-2]
        best = keys.new_full((batch, count), -torch.inf)
        index = torch.zeros((batch, count), dtype=torch.int64, device=keys.device)
        if index.numel() == 0:
            return index.int(), best
        for start in range(0, keys.shape[1], _CHUNK):
            scores = queries @ keys[:, start : start + _CHUNK].transpose(1, 2)
            value, at = scores.max(dim=2)
            better = (value > best) | (value.isnan() & ~best.isnan())
            best = torch.where(better, value, best)
            index = torch.where(better, at + start, index)
        return index.int(), best


def reference_score_argmax_backward(
    grad: Tensor, keys: Tensor, queries: Tensor, index: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of the winning scores: dkeys[k*] += g q, dqueries = g keys[k*], summed over the batch where shared."""
    rows = index.long()[:, :, None].expand(-1, -1, keys.shape[2])
    shared = queries if queries.ndim == 3 else queries.expand(keys.shape[0], *queries.shape)
    dkeys = torch.zeros_like(keys).scatter_add_(1, rows, grad[:, :, None] * shared)
    dqueries = grad[:, :, None] * keys.gather(1, rows)
    return dkeys, dqueries if queries.ndim == 3 else dqueries.sum(0)


def _shape(keys: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    check_scores("score_argmax", keys, queries)
    size = (keys.shape[0], queries.shape[-2])
    return keys.new_empty(size, dtype=torch.int32), keys.new_empty(size)


def _backward_shape(grad: Tensor, keys: Tensor, queries: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    return keys.new_empty(keys.shape), queries.new_empty(queries.shape)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[0])


def _backward(ctx: Any, grad_index: Tensor | None, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    if grad is None:
        return None, None
    dkeys, dqueries = torch.ops.medseg.score_argmax_backward(grad, *ctx.saved_tensors)
    return dkeys, dqueries


register_op("score_argmax(Tensor keys, Tensor queries) -> (Tensor index, Tensor score)", reference_score_argmax)
register_op(
    "score_argmax_backward(Tensor grad, Tensor keys, Tensor queries, Tensor index) -> (Tensor dkeys, Tensor dqueries)",
    reference_score_argmax_backward,
)
torch.library.register_fake("medseg::score_argmax", _shape)
torch.library.register_fake("medseg::score_argmax_backward", _backward_shape)
torch.library.register_autograd("medseg::score_argmax", _backward, setup_context=_save)
torch.library.register_autograd(
    "medseg::score_argmax_backward", lambda ctx, *grads: no_second_derivative("score_argmax")
)
