"""``medseg::bspline_warp``: an image or label map resampled through a cubic B-spline displacement, in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medseg.ops._bspline_warp_reference import reference_bspline_warp, reference_bspline_warp_backward
from medseg.ops._checks import check_same_device, no_second_derivative, shape_text
from medseg.ops._load import register_op

MODES = ("bilinear", "nearest")
PADDINGS = ("border", "constant")
_ELEMENTS = (1, 2, 4, 8)


def bspline_warp(
    x: Tensor,
    control: Tensor,
    spacing: Sequence[float],
    origin: Sequence[float],
    mode: str = "bilinear",
    padding_mode: str = "border",
    fill: float = 0.0,
) -> Tensor:
    """Samples ``x`` at ``p + u(p)`` for every voxel p, with u a uniform cubic B-spline of control points.

    ``u(p) = sum over g of beta3((p - origin) / spacing - g) * control[g]``, with the product of the cubic B-spline over
    the axes: a free-form deformation (Rueckert et al., IEEE TMI 18(8), 1999). Control points beyond the grid repeat
    those at its edge. The dense displacement is never stored.

    Args:
        x: ``[B, C, H, W]`` or ``[B, C, D, H, W]``, any strides. ``bilinear``: the dtype of ``control``, or float16 /
            bfloat16 (computed in float32); ``nearest``: any dtype, whose values are copied.
        control: ``[B, d, *G]``, or ``[1, d, *G]`` for the whole batch: displacement in voxels along each axis of x
            (axis order), float32 or float64, which is also the precision of the positions; finite.
        spacing: voxels between control points along every axis, above 0.
        origin: voxel coordinate of the first control point along every axis.
        mode: ``"bilinear"`` (trilinear in 3-D) or ``"nearest"`` (halves go to the higher index).
        padding_mode: outside of x, ``"border"`` repeats its edge and ``"constant"`` pads with ``fill``.
        fill: value outside for ``"constant"``; for an integer x a value that its dtype can hold.

    Returns:
        Same shape and dtype as x, contiguous; differentiable with respect to x and control (``nearest``: x only).

    Raises:
        ValueError: for shapes, modes or devices that do not fit.
        TypeError: for dtypes that do not fit.

    Example:
        One control point that moves every voxel by one along the last axis:

        >>> import torch
        >>> from medseg.ops import bspline_warp
        >>> x = torch.tensor([[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]])
        >>> control = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1)
        >>> bspline_warp(x, control, spacing=(4, 4), origin=(0, 0)).tolist()
        [[[[1.0, 2.0, 2.0], [4.0, 5.0, 5.0]]]]
    """
    _check(x, control, spacing, origin)
    if mode not in MODES:
        raise ValueError(f"bspline_warp: mode is {mode!r}; expected one of {', '.join(MODES)}")
    if padding_mode not in PADDINGS:
        raise ValueError(f"bspline_warp: padding_mode is {padding_mode!r}; expected one of {', '.join(PADDINGS)}")
    nearest = mode == "nearest"
    _check_dtype(x, control, nearest)
    _check_fill(x, fill)
    numbers = ([float(v) for v in origin], [float(v) for v in spacing])
    return torch.ops.medseg.bspline_warp(x, control, *numbers, nearest, padding_mode == "border", float(fill))


def _check(x: Tensor, control: Tensor, spacing: Sequence[float], origin: Sequence[float]) -> None:
    check_same_device("bspline_warp", x=x, control=control)
    if x.ndim not in (4, 5) or 0 in x.shape[2:]:
        raise ValueError(f"bspline_warp: x has shape {shape_text(x)}; expected [B, C, H, W] or [B, C, D, H, W]")
    d = x.ndim - 2
    fits = control.ndim == d + 2 and control.shape[1] == d and 0 not in control.shape[2:]
    if not fits or control.shape[0] not in (1, x.shape[0]):
        batch = f"1 or {x.shape[0]}" if x.shape[0] != 1 else "1"
        raise ValueError(f"bspline_warp: control has shape {shape_text(control)}; expected [{batch}, {d}, *grid]")
    if len(spacing) != d or not all(v > 0 and math.isfinite(v) for v in spacing):
        raise ValueError(f"bspline_warp: spacing is {list(spacing)}; expected {d} numbers of voxels above 0")
    if len(origin) != d or not all(math.isfinite(v) for v in origin):
        raise ValueError(f"bspline_warp: origin is {list(origin)}; expected {d} voxel coordinates")


def _check_dtype(x: Tensor, control: Tensor, nearest: bool) -> None:
    if control.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"bspline_warp: control is {control.dtype}; expected float32 or float64")
    if nearest and not x.dtype.is_complex and x.element_size() in _ELEMENTS:
        return
    half = x.dtype in (torch.float16, torch.bfloat16) and control.dtype == torch.float32
    if nearest or not (half or x.dtype == control.dtype):
        expected = "a real dtype" if nearest else f"{control.dtype} as control, or mode 'nearest' for label maps"
        raise TypeError(f"bspline_warp: x is {x.dtype}; expected {expected}")


def _check_fill(x: Tensor, fill: float) -> None:
    if not x.dtype.is_floating_point:
        low, high = (0, 1) if x.dtype == torch.bool else (torch.iinfo(x.dtype).min, torch.iinfo(x.dtype).max)
        if fill != fill or fill in (math.inf, -math.inf) or fill != int(fill) or not low <= fill <= high:
            raise ValueError(
                f"bspline_warp: fill is {fill} for x of {x.dtype}; expected an integer from {low} to {high}"
            )


def _shape(x: Tensor, control: Tensor, origin: Any, spacing: Any, nearest: bool, border: bool, fill: float) -> Tensor:
    return x.new_empty(x.shape)


def _backward_shape(grad: Tensor, x: Tensor, control: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    need_x, need_control = options[-2:]
    return x.new_empty(x.shape if need_x else (0,)), control.new_empty(control.shape if need_control else (0,))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.options = inputs[2:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needs = ctx.needs_input_grad[:2]
    dx, dcontrol = torch.ops.medseg.bspline_warp_backward(grad, *ctx.saved_tensors, *ctx.options, *needs)
    return dx if needs[0] else None, dcontrol if needs[1] else None, *[None] * 5


def _second(ctx: Any, *grads: Tensor) -> None:
    no_second_derivative("bspline_warp")


_OPTIONS = "float[] origin, float[] spacing, bool nearest, bool border, float fill"
register_op(f"bspline_warp(Tensor x, Tensor control, {_OPTIONS}) -> Tensor", reference_bspline_warp)
register_op(
    f"bspline_warp_backward(Tensor grad, Tensor x, Tensor control, {_OPTIONS}, bool need_x, bool need_control) "
    "-> (Tensor, Tensor)",
    reference_bspline_warp_backward,
)
torch.library.register_fake("medseg::bspline_warp", _shape)
torch.library.register_fake("medseg::bspline_warp_backward", _backward_shape)
torch.library.register_autograd("medseg::bspline_warp", _backward, setup_context=_save)
torch.library.register_autograd("medseg::bspline_warp_backward", _second)
