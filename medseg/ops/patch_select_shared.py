"""``medseg::patch_select_shared``: sparse downsampling by one score per patch, the best M of N patches in raster order.

It is `patch_select` with one query for all slots and no patch used twice. With P the patches as rows, G_m the gradient
of slot m, Gs = sum_m G_m and b_k = <Gs, P_k>, dP[k] is the G_m of the slot that holds k, and the scores s receive

    softmax   ds_k = slope / tau * pi_k (b_k - sum_l pi_l b_l),   pi = softmax(s / tau)
    paper     ds_k = slope * (b_k - [slot m holds k] <G_m, sum_l P_l>)
    none      0

Both sum to zero over k. The cost is one pass over the map; no array of N * M entries is made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import check_floating, check_same_device, no_second_derivative, shape_text
from medseg.ops._codes import SURROGATE_PAPER, SURROGATE_SOFTMAX
from medseg.ops._load import register_op
from medseg.ops.patch_gather import from_patches, patch_rows, reference_patch_gather, to_patches
from medseg.ops.patch_select import check_options, halved_shape


def patch_select_shared(
    x: Tensor,
    scores: Tensor,
    patch: int,
    slope: float = 0.1,
    max_grad: bool = True,
    *,
    surrogate: str = "softmax",
    tau: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Halves a map by keeping the patches of the highest scores.

    The M = N / 2^d best of the N patches (ties: lowest index; NaN counts as the largest score) are written in ascending
    order to the M places of the halved map. Works in float32 (float64 for float64 input) for every dtype of x.

    Args:
        x: ``[B, C, H, W]`` or ``[B, C, D, H, W]``, any strides, float16, bfloat16, float32 or float64.
        scores: ``[B, N]``, one number per patch in raster order.
        patch: side of a patch in voxels; every spatial size must be a multiple of ``2 * patch``.
        slope: scale of the surrogate derivative.
        max_grad: False replaces the sum of all patches in "paper" by the slot's own patch.
        surrogate: "softmax", "paper" or "none" (see the module's docstring).
        tau: temperature of the softmax, above 0.

    Returns:
        ``(out, index)``: ``[B, C, *S / 2]``, contiguous, in the dtype of x; int32 ``[B, M]``, ascending.

    Raises:
        ValueError: for shapes, devices or options that do not fit.
        TypeError: for dtypes that are not floating, or float64 mixed with another.

    Example:
        >>> import torch
        >>> from medseg.ops import patch_select_shared
        >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> out, index = patch_select_shared(x, torch.tensor([[0.1, 0.9, 0.4, 0.2]]), patch=2)
        >>> out.tolist(), index.tolist()
        ([[[[2.0, 3.0], [6.0, 7.0]]]], [[1]])
    """
    kind = check_options("patch_select_shared", "unique", "raster", surrogate, slope, tau)
    check_floating("patch_select_shared", x=x, scores=scores)
    check_same_device("patch_select_shared", x=x, scores=scores)
    _check_shapes(x, scores, patch)
    if (x.dtype == torch.float64) != (scores.dtype == torch.float64):
        raise TypeError(
            f"patch_select_shared: x is {x.dtype} and scores are {scores.dtype}; "
            "expected float64 for both or for neither"
        )
    scores = scores if scores.dtype == torch.float64 else scores.float()
    return torch.ops.medseg.patch_select_shared(x, scores, patch, kind, slope, tau, max_grad)


def _check_shapes(x: Tensor, scores: Tensor, patch: int) -> None:
    op = "patch_select_shared"
    if x.ndim not in (4, 5):
        raise ValueError(f"{op}: x has shape {shape_text(x)}; expected [B, C, H, W] or [B, C, D, H, W]")
    if patch < 1:
        raise ValueError(f"{op}: patch is {patch}; expected at least 1")
    if any(s == 0 or s % (2 * patch) for s in x.shape[2:]):
        raise ValueError(
            f"{op}: spatial size {list(x.shape[2:])} with patch {patch}; "
            f"expected multiples of {2 * patch}, pad or crop x"
        )
    patches = 1
    for s in x.shape[2:]:
        patches *= s // patch
    if tuple(scores.shape) != (x.shape[0], patches):
        raise ValueError(f"{op}: scores have shape {shape_text(scores)}; expected [{x.shape[0]}, {patches}]")


def reference_patch_select_shared(
    x: Tensor, scores: Tensor, patch: int, surrogate: int, slope: float, tau: float, max_grad: bool
) -> tuple[Tensor, Tensor]:
    """The op in plain PyTorch."""
    count = scores.shape[1] >> (x.ndim - 2)
    order = scores.sort(dim=1, descending=True, stable=True).indices
    index = order[:, :count].sort(dim=1).values.int()
    return reference_patch_gather(x, index, patch, [s // (2 * patch) for s in x.shape[2:]]), index


def reference_patch_select_shared_backward(
    grad: Tensor,
    x: Tensor,
    scores: Tensor,
    index: Tensor,
    patch: int,
    surrogate: int,
    slope: float,
    tau: float,
    max_grad: bool,
    need_x: bool,
    need_scores: bool,
) -> tuple[Tensor, Tensor]:
    """The gradient in plain PyTorch, by the formulas of the module's docstring."""
    with torch.autocast(x.device.type, enabled=False):
        g = to_patches(grad.to(scores.dtype), patch)
        dx, dscores = x.new_zeros(0), scores.new_zeros(0)
        if need_x:
            summed = g.new_zeros(*scores.shape, g.shape[2]).scatter_add_(1, patch_rows(index, g.shape[2]), g)
            dx = from_patches(summed, tuple(x.shape), patch).to(x.dtype).contiguous()
        if need_scores:
            p = to_patches(x.to(scores.dtype), patch)
            b = (p @ g.sum(1)[:, :, None])[:, :, 0]
            dscores = torch.zeros_like(scores)
            if surrogate == SURROGATE_SOFTMAX:
                pi = (scores / tau).softmax(1)
                dscores = slope / tau * pi * (b - (pi * b).sum(1, keepdim=True))
            elif surrogate == SURROGATE_PAPER:
                own = p.sum(1, keepdim=True) if max_grad else p.gather(1, patch_rows(index, p.shape[2]))
                dscores = slope * b.scatter_add(1, index.long(), -(g * own).sum(2))
        return dx, dscores


def _shape(
    x: Tensor, scores: Tensor, patch: int, surrogate: int, slope: float, tau: float, max_grad: bool
) -> tuple[Tensor, Tensor]:
    _check_shapes(x, scores, patch)
    count = scores.shape[1] // 2 ** (x.ndim - 2)
    return x.new_empty(halved_shape(x)), scores.new_empty((scores.shape[0], count), dtype=torch.int32)


def _backward_shape(
    grad: Tensor,
    x: Tensor,
    scores: Tensor,
    index: Tensor,
    patch: int,
    surrogate: int,
    slope: float,
    tau: float,
    max_grad: bool,
    need_x: bool,
    need_scores: bool,
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape if need_x else (0,)), scores.new_empty(scores.shape if need_scores else (0,))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, scores, *ctx.options = inputs
    ctx.save_for_backward(x, scores, output[1])


def _backward(ctx: Any, grad: Tensor | None, grad_index: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 7
    need_x, need_scores = ctx.needs_input_grad[:2]
    dx, dscores = torch.ops.medseg.patch_select_shared_backward(
        grad, *ctx.saved_tensors, *ctx.options, need_x, need_scores
    )
    return (dx if need_x else None, dscores if need_scores else None, *(None,) * 5)


register_op(
    "patch_select_shared(Tensor x, Tensor scores, int patch, int surrogate, float slope, float tau, bool max_grad) -> "
    "(Tensor out, Tensor index)",
    reference_patch_select_shared,
)
register_op(
    "patch_select_shared_backward(Tensor grad, Tensor x, Tensor scores, Tensor index, int patch, int surrogate, "
    "float slope, float tau, bool max_grad, bool need_x, bool need_scores) -> (Tensor dx, Tensor dscores)",
    reference_patch_select_shared_backward,
)
torch.library.register_fake("medseg::patch_select_shared", _shape)
torch.library.register_fake("medseg::patch_select_shared_backward", _backward_shape)
torch.library.register_autograd("medseg::patch_select_shared", _backward, setup_context=_save)
torch.library.register_autograd(
    "medseg::patch_select_shared_backward", lambda ctx, *grads: no_second_derivative("patch_select_shared")
)
