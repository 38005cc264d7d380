"""``medseg::local_histogram``: around every voxel, the share of the voxels of a window that lie in each bin.

A voxel counts if it lies in the image, in the mask and in ``low <= x <= high`` (NaN does not count). Bins have the
width ``(high - low) / bins``. Hard bins are half open, except for the last one, which is closed. Soft bins share a
voxel linearly between the two bins whose centres are nearest (within half a bin of the ends it belongs to the end bin).
The shares of a window sum to 1, or are all 0 if no voxel of the window counts. The op slides sums of columns over the
image, so that its cost does not depend on the window (on CUDA it grows with the window's last side). With hard bins the
counts are whole numbers and exact. The CPU and CUDA give the same maps (with soft bins: for windows of up to 8191
voxels); their gradients differ only by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import no_second_derivative
from medseg.ops._codes import MAX_BINS
from medseg.ops._histogram_bins import hard_bin, in_range, soft_bin
from medseg.ops._load import register_op
from medseg.ops._windows import check_window, full_mask, window_sum


def local_histogram(
    x: Tensor,
    window: int | Sequence[int],
    bins: int,
    low: float,
    high: float,
    mask: Tensor | None = None,
    soft: bool = False,
) -> Tensor:
    """Maps of the local histogram.

    Args:
        x: ``[B, C, H, W]`` or ``[B, C, D, H, W]``; float32 or float64, 16-bit types are computed in float32.
        window: odd side of the window in voxels, for all axes or for each; at most 32767 voxels. At the border of the
            image the window is cut.
        bins: number of bins, 1 (soft: 2) to 32767.
        low: lower end of the bins.
        high: upper end, above ``low``.
        mask: bool ``[B, C, *S]`` or ``[B, 1, *S]``, the voxels that count; None for all.
        soft: True for soft bins, which are differentiable in x; hard bins have no gradient.

    Returns:
        ``[B, C * bins, *S]``, the bins of the first channel first; float32, or float64 for float64 x.

    Raises:
        ValueError: for a shape, window, range or mask that does not fit.
        TypeError: for a dtype that does not fit.
        RuntimeError: on a second derivative.

    Example:
        Two bins; the window at a corner has four voxels:

        >>> import torch
        >>> from medseg.ops import local_histogram
        >>> x = torch.tensor([[[[1.0, 2.0, 9.0], [3.0, 8.0, 9.0], [9.0, 9.0, 9.0]]]])
        >>> maps = local_histogram(x, window=3, bins=2, low=0, high=10)
        >>> maps[0, :, 0, 0].tolist()
        [0.75, 0.25]
    """
    sides = check_window("local_histogram", x, mask, window)
    if bins < (2 if soft else 1) or bins > MAX_BINS:
        raise ValueError(f"local_histogram: bins is {bins}; expected {2 if soft else 1} to {MAX_BINS}")
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(f"local_histogram: low is {low} and high {high}; expected low below high")
    if x.dtype != torch.float64:
        x = x.float()
    return torch.ops.medseg.local_histogram(
        x if soft else x.detach(), full_mask(x, mask), sides, bins, float(low), float(high), soft
    )


def reference_local_histogram(
    x: Tensor, mask: Tensor | None, window: list[int], bins: int, low: float, high: float, soft: bool
) -> Tensor:
    """The op in plain PyTorch."""
    counted = in_range(x, low, high) if mask is None else in_range(x, low, high) & mask
    spans = [(-(w // 2), w // 2) for w in window]
    shape = (x.shape[0], x.shape[1], bins, *x.shape[2:])
    planes = x.new_zeros(shape, dtype=torch.float64)
    safe = torch.where(counted, x, low)
    if soft:
        lower, share = soft_bin(safe, bins, low, high)
        planes = planes.scatter_add(2, lower[:, :, None], ((1 - share) * counted)[:, :, None])
        planes = planes.scatter_add(2, lower[:, :, None] + 1, (share * counted)[:, :, None])
    else:
        index = hard_bin(safe, bins, low, high)
        planes = planes.scatter_add(2, index[:, :, None], counted[:, :, None].double())
    counts = window_sum(counted.double(), spans)[:, :, None]
    result = window_sum(planes, spans) / counts.clamp(min=1)
    return result.to(x.dtype).reshape(x.shape[0], -1, *x.shape[2:])


def reference_local_histogram_backward(
    grad: Tensor, x: Tensor, mask: Tensor | None, window: list[int], bins: int, low: float, high: float
) -> Tensor:
    """The gradient in plain PyTorch: autograd of the reference."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        out = reference_local_histogram(leaf, mask, window, bins, low, high, True)
        return torch.autograd.grad(out, leaf, grad)[0]


def _shape(x: Tensor, mask: Tensor | None, window: list[int], bins: int, low: float, high: float, soft: bool) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[1] * bins, *x.shape[2:]))


def _backward_shape(
    grad: Tensor, x: Tensor, mask: Tensor | None, window: list[int], bins: int, low: float, high: float
) -> Tensor:
    return x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, mask, *ctx.options, ctx.soft = inputs
    ctx.save_for_backward(x, mask)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, mask = ctx.saved_tensors
    if not ctx.soft:
        return (None,) * 7
    dx = torch.ops.medseg.local_histogram_backward(grad, x, mask, *ctx.options)
    return dx, None, None, None, None, None, None


register_op(
    "local_histogram(Tensor x, Tensor? mask, int[] window, int bins, float low, float high, bool soft) -> Tensor",
    reference_local_histogram,
)
register_op(
    "local_histogram_backward(Tensor grad, Tensor x, Tensor? mask, int[] window, int bins, float low, float high) -> "
    "Tensor",
    reference_local_histogram_backward,
)
torch.library.register_fake("medseg::local_histogram", _shape)
torch.library.register_fake("medseg::local_histogram_backward", _backward_shape)
torch.library.register_autograd("medseg::local_histogram", _backward, setup_context=_save)
torch.library.register_autograd(
    "medseg::local_histogram_backward", lambda ctx, *grads: no_second_derivative("local_histogram")
)
