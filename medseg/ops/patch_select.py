"""``medseg::patch_select``: sparse downsampling; each output slot takes the patch of its highest score.

With P the patches of a map as rows ``[N, d]``, H the keys, W the queries and S = H W^T the scores, slot m receives
patch k*(m) = argmax_k S_km. Selection is a step function; its surrogate derivative is 0 at the maximum and ``slope``
below it. With G = dL/d out, Pbar = sum_k P_k and c_m = <G_m, Pbar>, the exact gradient of that definition is

    dP[k] = sum of G_m over the slots m with k*(m) = k
    dS    = slope * (P G^T - c_m at (k*(m), m))                    every column sums to zero
    dH    = dS W   = slope * (P (G^T W) - scatter_k*(c_m W_m))
    dW    = dS^T H = slope * (G (P^T H) - c_m H_k*(m))

in 4 (N + M) d r multiply-adds; dS is never formed. ``max_grad=False`` treats the maximum as a constant: c_m becomes
<G_m, P_k*(m)>, the winner's entry of dS becomes 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import check_floating, check_same_device, check_scores, no_second_derivative, shape_text
from medseg.ops._codes import SURROGATES
from medseg.ops._load import register_op
from medseg.ops.patch_gather import from_patches, patch_rows, to_patches
from medseg.ops.score_argmax import lift_scores, reference_score_argmax


def patch_select(
    x: Tensor,
    keys: Tensor,
    queries: Tensor,
    patch: int,
    slope: float = 0.1,
    max_grad: bool = True,
    *,
    assignment: str = "argmax",
    order: str | None = None,
    surrogate: str = "paper",
    tau: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Halves a map by letting every output slot take the patch of the highest score.

    The map is cut into N patches of side ``patch`` in raster order (last axis fastest); the output has M = N / 2^d
    slots in raster order on the halved grid, d the number of spatial axes. ``out`` at slot m is all channels of patch
    number ``index[b, m]``. A tie goes to the lowest index, and NaN counts as the largest score (see `score_argmax`).
    With "argmax" a patch may fill several slots, with "unique" it fills one (see `medseg.ops.patch_select_slots`). One
    query for M slots is one score per patch: the best M patches in raster order (`medseg.ops.patch_select_shared`).
    Selection runs in float32 (float64 for float64 input) for every dtype of x, also under autocast.

    The gradient to keys and queries is a surrogate: "paper" is the one of this module's docstring, "softmax" weights
    every patch by its softmax score, "none" gives no gradient to the scores. float16 and bfloat16 gradients are summed
    in float32. The compiled op gives the same bits for every number of threads, and on CUDA in every run.

    Args:
        x: ``[B, C, H, W]`` or ``[B, C, D, H, W]``, any strides, float16, bfloat16, float32 or float64.
        keys: ``[B, N, r]``, one vector per patch.
        queries: ``[M, r]``, one vector per slot, shared by the batch; or ``[1, r]``, one vector for all slots.
        patch: side of a patch in voxels; every spatial size must be a multiple of ``2 * patch``.
        slope: scale of the surrogate derivative.
        max_grad: False treats the maximum as a constant in the gradient of "paper".
        assignment: "argmax" or "unique"; one query for several slots needs "unique".
        order: "slots" leaves every patch in the slot of its query, "raster" sorts the chosen patches by their place in
            x; None is "raster" for one query and "slots" otherwise.
        surrogate: "paper", "softmax" or "none".
        tau: temperature of the softmax, above 0.

    Returns:
        ``(out, index)``: ``[B, C, *S / 2]``, contiguous, in the dtype of x; int32 ``[B, M]``.

    Raises:
        ValueError: for shapes, devices or options that do not fit.
        TypeError: for dtypes that are not floating, or float64 mixed with another.

    Example:
        The patch of the largest key fills the halved map:

        >>> import torch
        >>> from medseg.ops import patch_select
        >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> keys = torch.tensor([[[0.1], [0.9], [0.4], [0.2]]])
        >>> out, index = patch_select(x, keys, queries=torch.ones(1, 1), patch=2)
        >>> out.tolist(), index.tolist()
        ([[[[2.0, 3.0], [6.0, 7.0]]]], [[1]])
    """
    kind = check_options("patch_select", assignment, order, surrogate, slope, tau)
    check_floating("patch_select", x=x, keys=keys, queries=queries)
    check_same_device("patch_select", x=x, keys=keys, queries=queries)
    check_patches(x, keys, queries, patch)
    keys, queries = lift_scores("patch_select", keys, queries)
    if (x.dtype == torch.float64) != (keys.dtype == torch.float64):
        raise TypeError(
            f"patch_select: x is {x.dtype} and keys are {keys.dtype}; expected float64 for both or for neither"
        )
    if queries.shape[0] == 1 and x.shape[2:] != (2 * patch,) * (x.ndim - 2):
        if assignment != "unique" or order == "slots":
            raise ValueError(
                f'patch_select: one query for all slots with assignment "{assignment}" and order "{order}"; '
                'expected assignment "unique" and order "raster" (or one query per slot)'
            )
        scores = torch.einsum("bnr,r->bn", keys, queries[0])
        return torch.ops.medseg.patch_select_shared(x, scores, patch, kind, slope, tau, max_grad)
    if (assignment, order, surrogate) in (("argmax", None, "paper"), ("argmax", "slots", "paper")):
        return torch.ops.medseg.patch_select(x, keys, queries, patch, slope, max_grad)
    unique, raster = assignment == "unique", order == "raster"
    return torch.ops.medseg.patch_select_slots(x, keys, queries, patch, unique, raster, kind, slope, tau, max_grad)[:2]


ASSIGNMENTS = ("argmax", "unique")
ORDERS = ("slots", "raster")


def check_options(op: str, assignment: str, order: str | None, surrogate: str, slope: float, tau: float) -> int:
    """The code of the surrogate; raises ValueError for an option that does not exist."""
    for name, value, allowed in (
        ("assignment", assignment, ASSIGNMENTS),
        ("order", order or "raster", ORDERS),
        ("surrogate", surrogate, SURROGATES),
    ):
        if value not in allowed:
            raise ValueError(f"{op}: {name} is {value!r}; expected one of {', '.join(map(repr, allowed))}")
    if not tau > 0:
        raise ValueError(f"{op}: tau is {tau}; expected more than 0")
    if not slope >= 0:
        raise ValueError(f"{op}: slope is {slope}; expected at least 0")
    return SURROGATES[surrogate]


def check_patches(x: Tensor, keys: Tensor, queries: Tensor, patch: int) -> None:
    """Raises ValueError unless x divides into patches and keys and queries have one row per patch and slot."""
    if x.ndim not in (4, 5):
        raise ValueError(f"patch_select: x has shape {shape_text(x)}; expected [B, C, H, W] or [B, C, D, H, W]")
    if patch < 1:
        raise ValueError(f"patch_select: patch is {patch}; expected at least 1")
    if any(s == 0 or s % (2 * patch) for s in x.shape[2:]):
        raise ValueError(
            f"patch_select: spatial size {list(x.shape[2:])} with patch {patch}; "
            f"expected multiples of {2 * patch}, pad or crop x"
        )
    check_scores("patch_select", keys, queries, shared_only=True)
    patches, slots = 1, 1
    for s in x.shape[2:]:
        patches, slots = patches * (s // patch), slots * (s // (2 * patch))
    if tuple(keys.shape[:2]) != (x.shape[0], patches):
        raise ValueError(
            f"patch_select: keys have shape {shape_text(keys)}; "
            f"expected [{x.shape[0]}, {patches}, r] for x {shape_text(x)}"
        )
    if queries.shape[0] not in (1, slots):
        raise ValueError(
            f"patch_select: queries have shape {shape_text(queries)}; expected [{slots}, r] for x {shape_text(x)}"
        )


def reference_patch_select(
    x: Tensor, keys: Tensor, queries: Tensor, patch: int, slope: float = 0.1, max_grad: bool = True
) -> tuple[Tensor, Tensor]:
    """The op in plain PyTorch."""
    index, _ = reference_score_argmax(keys, queries)
    rows = to_patches(x, patch)
    chosen = rows.gather(1, patch_rows(index, rows.shape[2]))
    return from_patches(chosen, halved_shape(x), patch).contiguous(), index


def reference_patch_select_backward(
    grad: Tensor,
    x: Tensor,
    keys: Tensor,
    queries: Tensor,
    index: Tensor,
    patch: int,
    slope: float,
    max_grad: bool,
    need_x: bool,
    need_scores: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient in plain PyTorch, by the low-rank formulas of the module's docstring."""
    with torch.autocast(x.device.type, enabled=False):
        g = to_patches(grad.to(keys.dtype), patch)
        rows = patch_rows(index, g.shape[2])
        dx, dkeys, dqueries = x.new_zeros(0), keys.new_zeros(0), queries.new_zeros(0)
        if need_x:
            summed = g.new_zeros(x.shape[0], keys.shape[1], g.shape[2]).scatter_add_(1, rows, g)
            dx = from_patches(summed, tuple(x.shape), patch).to(x.dtype).contiguous()
        if need_scores:
            p = to_patches(x.to(keys.dtype), patch)
            at = patch_rows(index, keys.shape[2])
            total = p.sum(1, keepdim=True) if max_grad else p.gather(1, rows)
            c = (g * total).sum(2, keepdim=True)
            dkeys = p @ (g.transpose(1, 2) @ queries)
            dkeys = slope * dkeys.scatter_add(1, at, -c * queries)
            dqueries = slope * (g @ (p.transpose(1, 2) @ keys) - c * keys.gather(1, at)).sum(0)
        return dx, dkeys, dqueries


def halved_shape(x: Tensor) -> tuple[int, ...]:
    """Shape of the output of a selection from x."""
    return (*x.shape[:2], *(s // 2 for s in x.shape[2:]))


def _shape(
    x: Tensor, keys: Tensor, queries: Tensor, patch: int, slope: float = 0.1, max_grad: bool = True
) -> tuple[Tensor, Tensor]:
    check_patches(x, keys, queries, patch)
    index = keys.new_empty((keys.shape[0], queries.shape[0]), dtype=torch.int32)
    return x.new_empty(halved_shape(x)), index


def _backward_shape(
    grad: Tensor,
    x: Tensor,
    keys: Tensor,
    queries: Tensor,
    index: Tensor,
    patch: int,
    slope: float,
    max_grad: bool,
    need_x: bool,
    need_scores: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    def like(t: Tensor, wanted: bool) -> Tensor:
        return t.new_empty(t.shape if wanted else (0,))

    return like(x, need_x), like(keys, need_scores), like(queries, need_scores)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, keys, queries, ctx.patch, ctx.slope, ctx.max_grad = inputs
    ctx.save_for_backward(x, keys, queries, output[1])


def _backward(ctx: Any, grad: Tensor | None, grad_index: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 6
    need_x, need_keys, need_queries = ctx.needs_input_grad[:3]
    dx, dkeys, dqueries = torch.ops.medseg.patch_select_backward(
        grad, *ctx.saved_tensors, ctx.patch, ctx.slope, ctx.max_grad, need_x, need_keys or need_queries
    )
    return (dx if need_x else None, dkeys if need_keys else None, dqueries if need_queries else None, None, None, None)


register_op(
    "patch_select(Tensor x, Tensor keys, Tensor queries, int patch, float slope=0.1, bool max_grad=True) -> "
    "(Tensor out, Tensor index)",
    reference_patch_select,
)
register_op(
    "patch_select_backward(Tensor grad, Tensor x, Tensor keys, Tensor queries, Tensor index, int patch, float slope, "
    "bool max_grad, bool need_x, bool need_scores) -> (Tensor dx, Tensor dkeys, Tensor dqueries)",
    reference_patch_select_backward,
)
torch.library.register_fake("medseg::patch_select", _shape)
torch.library.register_fake("medseg::patch_select_backward", _backward_shape)
torch.library.register_autograd("medseg::patch_select", _backward, setup_context=_save)
torch.library.register_autograd(
    "medseg::patch_select_backward", lambda ctx, *grads: no_second_derivative("patch_select")
)
