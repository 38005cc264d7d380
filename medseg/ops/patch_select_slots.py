"""``medseg::patch_select_slots``: `patch_select` with unique patches, raster order and the softmax surrogate.

Unique: all pairs of a slot's query and one of its 32 best patches are visited by descending score (ties: lower slot,
then lower patch). If the slot and the patch of a pair are both free, the slot takes the patch. The remaining slots take
the remaining patches, both in ascending order. Raster: the chosen patches are stored in the order of their places in
the map. The patch that a query received is k* in its gradient. With a_mk = <G_m, P_k> and pi_m = softmax(S_m / tau) the
softmax surrogate is

    dS_mk = slope / tau * pi_mk (a_mk - sum_l pi_ml a_ml)

with rows that sum to zero; it is streamed over blocks of slots, so no array of N * M entries is made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import no_second_derivative
from medseg.ops._codes import CANDIDATES, SURROGATE_PAPER, SURROGATE_SOFTMAX
from medseg.ops._load import register_op
from medseg.ops.patch_gather import reference_patch_gather, to_patches
from medseg.ops.patch_select import check_patches, halved_shape, reference_patch_select_backward
from medseg.ops.score_argmax import reference_score_argmax

_BLOCK = 64  # slots per block of the reference


def assign_unique(keys: Tensor, queries: Tensor) -> Tensor:
    """Patch of every query, none twice, by the module's rule: int64 ``[B, M]`` for keys ``[B, N, r]``."""
    rows = []
    for item in keys:
        kept = min(CANDIDATES, len(item))
        # A stable sort keeps the lower patch first among equal scores; topk promises no order.
        best, at = (queries @ item.T).sort(dim=1, descending=True, stable=True)
        flat, patch = best[:, :kept].flatten(), at[:, :kept].flatten().tolist()
        result, taken = [-1] * len(queries), [False] * len(item)
        for pair in flat.sort(descending=True, stable=True).indices.tolist():
            slot, k = pair // kept, patch[pair]
            if result[slot] < 0 and not taken[k]:
                result[slot], taken[k] = k, True
        free = iter([k for k, used in enumerate(taken) if not used])
        rows.append([k if k >= 0 else next(free) for k in result])
    return torch.tensor(rows, dtype=torch.int64, device=keys.device).reshape(len(keys), len(queries))


def reference_patch_select_slots(
    x: Tensor,
    keys: Tensor,
    queries: Tensor,
    patch: int,
    unique: bool,
    raster: bool,
    surrogate: int,
    slope: float,
    tau: float,
    max_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The op in plain PyTorch: the map, and for every slot the patch and the query whose patch it is."""
    with torch.autocast(x.device.type, enabled=False):
        index = assign_unique(keys, queries) if unique else reference_score_argmax(keys, queries)[0].long()
    query = torch.arange(queries.shape[0], device=x.device).expand(index.shape)
    if raster:
        query = index.sort(dim=1, stable=True).indices
        index = index.gather(1, query)
    out = reference_patch_gather(x, index.int(), patch, [s // (2 * patch) for s in x.shape[2:]])
    return out, index.int().contiguous(), query.int().contiguous()


def reference_patch_select_slots_backward(
    grad: Tensor,
    x: Tensor,
    keys: Tensor,
    queries: Tensor,
    index: Tensor,
    query: Tensor,
    patch: int,
    surrogate: int,
    slope: float,
    tau: float,
    max_grad: bool,
    need_x: bool,
    need_scores: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient in plain PyTorch: slots are brought back into the order of the queries first."""
    with torch.autocast(x.device.type, enabled=False):
        slot = query.long().argsort(dim=1)
        grad = reference_patch_gather(grad, slot.int(), patch, [s // patch for s in grad.shape[2:]])
        index = index.gather(1, slot)
        paper = need_scores and surrogate == SURROGATE_PAPER
        dx, dkeys, dqueries = reference_patch_select_backward(
            grad, x, keys, queries, index, patch, slope, max_grad, need_x, paper
        )
        if need_scores and not paper:
            dkeys, dqueries = torch.zeros_like(keys), torch.zeros_like(queries)
        if need_scores and surrogate == SURROGATE_SOFTMAX:
            p, g = to_patches(x.to(keys.dtype), patch), to_patches(grad.to(keys.dtype), patch)
            for start in range(0, queries.shape[0], _BLOCK):
                block = slice(start, start + _BLOCK)
                pi = (queries[block] @ keys.transpose(1, 2) / tau).softmax(2)
                a = g[:, block] @ p.transpose(1, 2)
                ds = slope / tau * pi * (a - (pi * a).sum(2, keepdim=True))
                dkeys += ds.transpose(1, 2) @ queries[block]
                dqueries[block] = (ds @ keys).sum(0)
        return dx, dkeys, dqueries


def _shape(
    x: Tensor,
    keys: Tensor,
    queries: Tensor,
    patch: int,
    unique: bool,
    raster: bool,
    surrogate: int,
    slope: float,
    tau: float,
    max_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    check_patches(x, keys, queries, patch)
    size = (keys.shape[0], queries.shape[0])
    index, query = (keys.new_empty(size, dtype=torch.int32) for _ in range(2))
    return x.new_empty(halved_shape(x)), index, query


def _backward_shape(
    grad: Tensor,
    x: Tensor,
    keys: Tensor,
    queries: Tensor,
    index: Tensor,
    query: Tensor,
    patch: int,
    surrogate: int,
    slope: float,
    tau: float,
    max_grad: bool,
    need_x: bool,
    need_scores: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    def like(t: Tensor, wanted: bool) -> Tensor:
        return t.new_empty(t.shape if wanted else (0,))

    return like(x, need_x), like(keys, need_scores), like(queries, need_scores)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, keys, queries, ctx.patch, _, _, *ctx.options = inputs
    ctx.save_for_backward(x, keys, queries, output[1], output[2])


def _backward(ctx: Any, grad: Tensor | None, *ignored: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 10
    need_x, need_keys, need_queries = ctx.needs_input_grad[:3]
    dx, dkeys, dqueries = torch.ops.medseg.patch_select_slots_backward(
        grad, *ctx.saved_tensors, ctx.patch, *ctx.options, need_x, need_keys or need_queries
    )
    return (dx if need_x else None, dkeys if need_keys else None, dqueries if need_queries else None, *(None,) * 7)


register_op(
    "patch_select_slots(Tensor x, Tensor keys, Tensor queries, int patch, bool unique, bool raster, int surrogate, "
    "float slope, float tau, bool max_grad) -> (Tensor out, Tensor index, Tensor query)",
    reference_patch_select_slots,
)
register_op(
    "patch_select_slots_backward(Tensor grad, Tensor x, Tensor keys, Tensor queries, Tensor index, Tensor query, "
    "int patch, int surrogate, float slope, float tau, bool max_grad, bool need_x, bool need_scores) -> "
    "(Tensor dx, Tensor dkeys, Tensor dqueries)",
    reference_patch_select_slots_backward,
)
torch.library.register_fake("medseg::patch_select_slots", _shape)
torch.library.register_fake("medseg::patch_select_slots_backward", _backward_shape)
torch.library.register_autograd("medseg::patch_select_slots", _backward, setup_context=_save)
torch.library.register_autograd(
    "medseg::patch_select_slots_backward", lambda ctx, *grads: no_second_derivative("patch_select_slots")
)
