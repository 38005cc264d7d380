"""Registration of ``medseg::quadtree_conv``: schema, shape functions and gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import no_second_derivative
from medseg.ops._codes import BATCH_NORM, NO_NORM
from medseg.ops._load import register_op
from medseg.ops._quadtree_conv_arguments import check_quadtree_conv, grid_of, keeps_signs, layout_of
from medseg.ops._quadtree_conv_reference import reference_quadtree_conv, reference_quadtree_conv_backward


def _store_shape(x: Tensor, tile: Sequence[int], rows: Sequence[int]) -> tuple[int, ...]:
    return (sum(rows), *tile, x.shape[1])


def _shape(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    gate: Tensor | None,
    index: Tensor,
    count: Tensor,
    explore: Tensor,
    tile: Sequence[int],
    rows: Sequence[int],
    mode: int,
    activation: int,
    slope: float,
    norm: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    check_quadtree_conv(x, weight, bias, scale, shift, index, count)
    out = torch.empty_like(x, memory_format=layout_of(x))
    store = x.new_empty(_store_shape(x, tile, rows))
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    pre, stats = x.new_empty(0), x.new_empty(0, dtype=kind)
    if norm != NO_NORM:
        pre = x.new_empty(_store_shape(x, tile, rows))
        stats = x.new_empty((weight.shape[0], 1 if norm == BATCH_NORM else x.shape[0], 2, x.shape[1]), dtype=kind)
    elif keeps_signs(mode, activation, norm):
        pre = x.new_empty((sum(rows), -(-math.prod(tile) * x.shape[1] // 8)), dtype=torch.uint8)
    return out, store, pre, stats


def _backward_shape(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    index: Tensor,
    count: Tensor,
    explore: Tensor,
    store: Tensor,
    pre: Tensor,
    stats: Tensor,
    tile: Sequence[int],
    rows: Sequence[int],
    mode: int,
    activation: int,
    slope: float,
    norm: int,
    eps: float,
    need_x: bool,
    need_weight: bool,
    need_gate: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    def like(p: Tensor | None) -> Tensor:
        return weight.new_empty(0) if p is None or not need_weight else p.new_empty(p.shape)

    dx = torch.empty_like(x, memory_format=layout_of(x)) if need_x else x.new_empty(0)
    tiles = x.shape[0] * math.prod(grid_of(x.shape[2:], tile))
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    dgate = x.new_empty((weight.shape[0], tiles) if need_gate else (0,), dtype=kind)
    return dx, like(weight), like(bias), like(scale), like(shift), dgate


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, bias, scale, shift, gate, index, count, explore, *ctx.settings = inputs
    _, store, pre, stats = output
    ctx.mark_non_differentiable(store, pre, stats)
    ctx.set_materialize_grads(False)
    ctx.gate_dtype = None if gate is None else gate.dtype
    ctx.save_for_backward(x, weight, bias, scale, shift, index, count, explore, store, pre, stats)


def _backward(ctx: Any, grad: Tensor | None, *unused: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * (9 + len(ctx.settings))
    need = ctx.needs_input_grad
    dx, *parameters, dgate = torch.ops.medseg.quadtree_conv_backward(
        grad, *ctx.saved_tensors, *ctx.settings, need[0], any(need[1:5]), need[5]
    )
    found = [d if wanted else None for d, wanted in zip(parameters, need[1:5], strict=True)]
    gate = dgate.to(ctx.gate_dtype) if need[5] else None
    return (dx if need[0] else None, *found, gate, *(None,) * (3 + len(ctx.settings)))


register_op(
    "quadtree_conv(Tensor x, Tensor weight, Tensor? bias, Tensor? scale, Tensor? shift, Tensor? gate, Tensor index, "
    "Tensor count, Tensor explore, int[] tile, int[] rows, int mode, int activation, float slope, int norm, float eps) "
    "-> (Tensor out, Tensor store, Tensor pre, Tensor stats)",
    reference_quadtree_conv,
)
register_op(
    "quadtree_conv_backward(Tensor grad, Tensor x, Tensor weight, Tensor? bias, Tensor? scale, Tensor? shift, "
    "Tensor index, Tensor count, Tensor explore, Tensor store, Tensor pre, Tensor stats, int[] tile, int[] rows, "
    "int mode, int activation, float slope, int norm, float eps, bool need_x, bool need_weight, bool need_gate) -> "
    "(Tensor dx, Tensor dweight, Tensor dbias, Tensor dscale, Tensor dshift, Tensor dgate)",
    reference_quadtree_conv_backward,
)
torch.library.register_fake("medseg::quadtree_conv", _shape)
torch.library.register_fake("medseg::quadtree_conv_backward", _backward_shape)
torch.library.register_autograd("medseg::quadtree_conv", _backward, setup_context=_save)
torch.library.register_autograd(
    "medseg::quadtree_conv_backward", lambda ctx, *grads: no_second_derivative("quadtree_conv")
)
