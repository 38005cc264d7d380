"""``medseg::bspline_warp`` in plain PyTorch: dense weights along every axis, the displacement, then the corners."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


def axis_weights(size: int, points: int, origin: float, spacing: float) -> Tensor:
    """Cubic B-spline weights ``[size, points]`` in float64; control points beyond the grid repeat those at its edge."""
    t = (torch.arange(size, dtype=torch.float64) - origin) / spacing
    cell = t.floor()
    f = t - cell
    g = 1 - f
    weights = [g**3 / 6, (3 * f**3 - 6 * f**2 + 4) / 6, (3 * g**3 - 6 * g**2 + 4) / 6, f**3 / 6]
    dense = torch.zeros(size, points, dtype=torch.float64)
    for j, w in enumerate(weights):
        at = (cell - 1 + j).clamp(0, points - 1).long()
        dense.scatter_add_(1, at[:, None], w[:, None])
    return dense


def displacement(control: Tensor, size: Sequence[int], origin: Sequence[float], spacing: Sequence[float]) -> Tensor:
    """The dense displacement ``[B, d, *size]`` of control points ``[B, d, *G]``."""
    u = control
    for a, n in enumerate(size):
        w = axis_weights(n, control.shape[2 + a], origin[a], spacing[a]).to(u)
        u = torch.tensordot(u, w, dims=([2 + a], [1])).movedim(-1, 2 + a)
    return u


class _Axis(NamedTuple):
    """Lower and upper voxel, fraction between them, and mask with derivatives, along one axis; all ``[B, N]``."""

    low: Tensor
    high: Tensor
    fraction: Tensor
    inside: Tensor
    mask: Tensor
    dmask: Tensor


def _place(position: Tensor, size: int, border: bool) -> _Axis:
    clamped = position.clamp(0, size - 1)
    low = clamped.floor().clamp(max=max(size - 2, 0))
    outside = (position - clamped).abs()
    mask = torch.ones_like(position) if border else (1 - outside).clamp(min=0)
    slope = torch.where(position < 0, 1.0, -1.0).to(position) * ((outside > 0) & (outside < 1))
    return _Axis(
        low.long(),
        (low + 1).clamp(max=size - 1).long(),
        clamped - low,
        ((position > 0) & (position < size - 1)).to(position),
        mask,
        torch.zeros_like(mask) if border else slope,
    )


def _positions(
    control: Tensor, batch: int, size: Sequence[int], origin: Sequence[float], spacing: Sequence[float]
) -> Tensor:
    """Where every voxel reads, ``[B, d, N]`` in voxels."""
    grid = torch.meshgrid(*[torch.arange(n, dtype=control.dtype, device=control.device) for n in size], indexing="ij")
    moved = torch.stack(grid) + displacement(control, size, origin, spacing)
    return moved.flatten(2).expand(batch, -1, -1)


def _raster(index: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    flat = torch.zeros_like(index[0])
    for i, n in zip(index, size, strict=True):
        flat = flat * n + i
    return flat[:, None]


def _nearest(position: Tensor, size: Sequence[int], border: bool) -> tuple[Tensor, Tensor]:
    """Raster index ``[B, 1, N]`` of the nearest voxel, and whether it lies in the image."""
    index = (position + 0.5).floor()
    most = torch.tensor([n - 1 for n in size], device=position.device)[:, None]
    inside = ((index >= 0) & (index <= most)).all(1, keepdim=True) | border
    return _raster(index.clamp(min=0).minimum(most).long().unbind(1), size), inside


def _corners(axes: Sequence[_Axis]) -> list[tuple[tuple[int, ...], Tensor]]:
    """Corner and its weight ``[B, 1, N]``."""
    found = []
    for corner in itertools.product((0, 1), repeat=len(axes)):
        weights = [a.fraction if c else 1 - a.fraction for a, c in zip(axes, corner, strict=True)]
        found.append((corner, math.prod(weights[1:], start=weights[0])[:, None]))
    return found


def _corner_index(axes: Sequence[_Axis], corner: Sequence[int], size: Sequence[int]) -> Tensor:
    return _raster([a.high if c else a.low for a, c in zip(axes, corner, strict=True)], size)


def _take(flat: Tensor, index: Tensor) -> Tensor:
    return flat.gather(2, index.expand(-1, flat.shape[1], -1))


def _product(parts: Sequence[Tensor]) -> Tensor:
    return math.prod(parts[1:], start=parts[0])[:, None]


def reference_bspline_warp(
    x: Tensor,
    control: Tensor,
    origin: Sequence[float],
    spacing: Sequence[float],
    nearest: bool,
    border: bool,
    fill: float,
) -> Tensor:
    """The op in plain PyTorch."""
    size = x.shape[2:]
    position = _positions(control, x.shape[0], size, origin, spacing)
    if nearest:
        index, inside = _nearest(position, size, border)
        taken = _take(x.flatten(2), index)
        return torch.where(inside, taken, torch.full_like(taken, fill)).reshape(x.shape).contiguous()
    axes = [_place(position[:, a], n, border) for a, n in enumerate(size)]
    flat = x.flatten(2).to(control.dtype)
    value = sum((w * _take(flat, _corner_index(axes, c, size)) for c, w in _corners(axes)), torch.zeros_like(flat))
    out = value if border else fill + _product([a.mask for a in axes]) * (value - fill)
    return out.reshape(x.shape).to(x.dtype)


def reference_bspline_warp_backward(
    grad: Tensor,
    x: Tensor,
    control: Tensor,
    origin: Sequence[float],
    spacing: Sequence[float],
    nearest: bool,
    border: bool,
    fill: float,
    need_x: bool,
    need_control: bool,
) -> tuple[Tensor, Tensor]:
    """Its gradient, written out."""
    size = x.shape[2:]
    position = _positions(control, x.shape[0], size, origin, spacing)
    g, flat = grad.flatten(2).to(control.dtype), x.flatten(2).to(control.dtype)
    dx, du = torch.zeros_like(flat), torch.zeros_like(position)
    if nearest:
        index, inside = _nearest(position, size, border)
        dx.scatter_add_(2, index.expand_as(g), g * inside)
    else:
        axes = [_place(position[:, a], n, border) for a, n in enumerate(size)]
        mask = _product([a.mask for a in axes])
        for corner, w in _corners(axes):
            dx.scatter_add_(2, _corner_index(axes, corner, size).expand_as(g), g * mask * w)
        du = _displacement_gradient(axes, size, g, flat, mask, fill)
    dcontrol = _control_gradient(du.reshape(*du.shape[:2], *size), control, origin, spacing)
    return (
        dx.reshape(x.shape).to(x.dtype) if need_x else x.new_empty(0),
        dcontrol if need_control else control.new_empty(0),
    )


def _displacement_gradient(
    axes: Sequence[_Axis], size: Sequence[int], g: Tensor, flat: Tensor, mask: Tensor, fill: float
) -> Tensor:
    """Gradient by the position of every voxel, ``[B, d, N]``."""
    value, slopes = torch.zeros_like(flat), [torch.zeros_like(flat) for _ in axes]
    for corner, w in _corners(axes):
        taken = _take(flat, _corner_index(axes, corner, size))
        value += w * taken
        for a in range(len(axes)):
            others = [
                x.fraction if c else 1 - x.fraction for i, (x, c) in enumerate(zip(axes, corner, strict=True)) if i != a
            ]
            slopes[a] += (1 if corner[a] else -1) * _product(others) * taken
    result = []
    for a, axis in enumerate(axes):
        others = _product([x.mask for i, x in enumerate(axes) if i != a])
        by_mask = axis.dmask[:, None] * others * (value - fill)
        result.append((g * (mask * axis.inside[:, None] * slopes[a] + by_mask)).sum(1))
    return torch.stack(result, 1)


def _control_gradient(du: Tensor, control: Tensor, origin: Sequence[float], spacing: Sequence[float]) -> Tensor:
    """The transpose of `displacement`."""
    for a in range(du.ndim - 2):
        w = axis_weights(du.shape[2 + a], control.shape[2 + a], origin[a], spacing[a]).to(du)
        du = torch.tensordot(du, w, dims=([2 + a], [0])).movedim(-1, 2 + a)
    return du if control.shape[0] == du.shape[0] else du.sum(0, keepdim=True)
