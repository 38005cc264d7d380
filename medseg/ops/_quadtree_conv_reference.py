"""``medseg::quadtree_conv`` in plain PyTorch: every round is a dense convolution, masked afterwards.

`masked_quadtree_conv` is differentiable by autograd in all its arguments and is what compiled code is compared with;
`reference_quadtree_conv_backward` writes the same gradients out, for installations that run without compiled code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medseg.ops._codes import BATCH_NORM, LEAKY_RELU, NO_ACTIVATION, NO_NORM, PARALLEL, RELU, REPLACE
from medseg.ops._quadtree_conv_arguments import grid_of, keeps_signs, layout_of


class Round(NamedTuple):
    """What one round computed: masks are ``[B, 1, *S]``, statistics ``[1 or B, C, 1..]``, the rest maps."""

    source: Tensor
    before: Tensor
    convolved: Tensor
    mean: Tensor
    rstd: Tensor
    value: Tensor
    mask: Tensor


def flags_of_tiles(rows: Tensor, tiles: int) -> Tensor:
    """Bool ``[R, tiles]`` of padded lists of tile numbers ``[R, W]``, -1 for no tile."""
    flags = torch.zeros(rows.shape[0], tiles + 1, dtype=torch.bool, device=rows.device)
    flags.scatter_(1, torch.where(rows < 0, tiles, rows).long(), True)
    return flags[:, :tiles]


def spread(tiles: Tensor, shape: Sequence[int], tile: Sequence[int]) -> Tensor:
    """Map ``[B, 1, *S]`` of one value a tile, ``[B * G]``."""
    grid = grid_of(shape[2:], tile)
    out = tiles.reshape(shape[0], 1, *grid)
    for axis, side in enumerate(tile):
        out = out.repeat_interleave(side, 2 + axis).narrow(2 + axis, 0, shape[2 + axis])
    return out


def cut_tiles(x: Tensor, tile: Sequence[int]) -> Tensor:
    """All tiles ``[B * G, *tile, C]`` of a map ``[B, C, *S]``; what lies outside of it is 0."""
    grid = grid_of(x.shape[2:], tile)
    d = len(tile)
    missing = [g * t - s for g, t, s in zip(grid, tile, x.shape[2:], strict=True)]
    padded = torch.nn.functional.pad(x, [v for m in reversed(missing) for v in (0, m)])
    split = padded.reshape(*x.shape[:2], *(v for pair in zip(grid, tile, strict=True) for v in pair))
    turned = split.permute(0, *range(2, 2 + 2 * d, 2), *range(3, 3 + 2 * d, 2), 1)
    return turned.reshape(x.shape[0] * math.prod(grid), *tile, x.shape[1])


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Dense convolution that keeps the size."""
    function = torch.nn.functional.conv2d if x.ndim == 4 else torch.nn.functional.conv3d
    return function(x, weight, bias, padding=weight.shape[-1] // 2)


def statistics(u: Tensor, mask: Tensor, norm: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / sqrt(biased variance + eps) of each channel over the positions of the mask; 0 and 1 if none."""
    axes = [0, *range(2, u.ndim)] if norm == BATCH_NORM else list(range(2, u.ndim))
    n = mask.sum(axes, keepdim=True).to(u.dtype)
    m = mask.to(u.dtype)
    mean = (u * m).sum(axes, keepdim=True) / n.clamp(min=1)
    variance = ((u - mean).square() * m).sum(axes, keepdim=True) / n.clamp(min=1)
    return torch.where(n > 0, mean, 0.0), torch.where(n > 0, (variance + eps).rsqrt(), 1.0)


def activate(v: Tensor, activation: int, slope: float) -> Tensor:
    """The activation of a code of `medseg.ops._codes.ACTIVATIONS`."""
    if activation == NO_ACTIVATION:
        return v
    return v.clamp(min=0) if activation == RELU else torch.where(v > 0, v, v * slope)


def per_channel(p: Tensor, ndim: int) -> Tensor:
    """``[C]`` as ``[1, C, 1..]``."""
    return p.reshape(1, -1, *[1] * (ndim - 2))


def masked_quadtree_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    gate: Tensor | None,
    index: Tensor,
    explore: Tensor,
    tile: Sequence[int],
    mode: int,
    activation: int,
    slope: float,
    norm: int,
    eps: float,
) -> tuple[Tensor, list[Round]]:
    """The definition: each round convolves the whole map and keeps the result on its tiles.

    The gate of a listed tile enters straight-through: its value in the forward pass is 1 for an active tile and 0 for
    an explored one, its derivative is that of a factor of the tile's change.

    Args:
        x: ``[B, C, *S]``.
        weight: ``[R, C, C, k..]``.
        bias: ``[R, C]`` or None; scale and shift alike.
        scale: factor after the normalisation.
        shift: summand after the normalisation.
        gate: ``[R, B * G]`` or None.
        index: ``[R, W]`` active tiles, -1 padded.
        explore: ``[R, E]`` rejected tiles that pass a gradient to their gate, -1 padded.
        tile: sides of a tile.
        mode: code of `medseg.ops._codes.MODES`.
        activation: code of `medseg.ops._codes.ACTIVATIONS`.
        slope: of the leaky ReLU.
        norm: code of `medseg.ops._codes.NORMS`.
        eps: added to the variance.

    Returns:
        The map after the last round in the dtype of x, and what each round computed (float32, or float64 for
        float64).
    """
    tiles = x.shape[0] * math.prod(grid_of(x.shape[2:], tile))
    active, explored = flags_of_tiles(index, tiles), flags_of_tiles(explore, tiles)
    rounds: list[Round] = []
    with torch.autocast(x.device.type, enabled=False):
        kind = torch.float64 if x.dtype == torch.float64 else torch.float32
        first = y = x.to(kind)
        for r in range(weight.shape[0]):
            source = first if mode == PARALLEL else y
            u = v = convolve(source, weight[r].to(kind), None if bias is None else bias[r].to(kind))
            mask = spread(active[r], x.shape, tile)
            mean = rstd = u.new_zeros(0)
            if norm != NO_NORM:
                mean, rstd = statistics(u, mask, norm, eps)
                v = (u - mean) * rstd
                v = v if scale is None else v * per_channel(scale[r].to(kind), x.ndim)
                v = v if shift is None else v + per_channel(shift[r].to(kind), x.ndim)
            value = activate(v, activation, slope)
            target = value if mode == REPLACE else y + value
            after = torch.where(mask, target, y)
            if gate is not None:
                g = spread(gate[r].to(kind), x.shape, tile) * spread(active[r] | explored[r], x.shape, tile)
                after = after + (g - g.detach()) * (target - y).detach()
            rounds.append(Round(source, y, u, mean, rstd, value, mask))
            y = after.to(x.dtype).to(kind)
    return y.to(x.dtype), rounds


def stored_rows(maps: Sequence[Tensor], index: Tensor, tile: Sequence[int], rows: Sequence[int]) -> Tensor:
    """The tiles of each round's list out of its map, ``[sum rows, *tile, C]``; 0 where a list has ended."""
    parts = []
    for r, n in enumerate(rows):
        at = torch.nn.functional.pad(index[r, :n], (0, max(0, n - index.shape[1])), value=-1)
        chosen = cut_tiles(maps[r], tile)[at.clamp(min=0).long()]
        parts.append(torch.where(at.reshape(-1, *[1] * (chosen.ndim - 1)) >= 0, chosen, torch.zeros_like(chosen)))
    return torch.cat(parts)


def pack_signs(rows: Tensor) -> Tensor:
    """Bits ``[rows, bytes]`` of what is above 0; bit i of byte j is entry 8 j + i of the row (position, channel)."""
    flat = (rows > 0).flatten(1)
    flat = torch.nn.functional.pad(flat, (0, -flat.shape[1] % 8))
    powers = 2 ** torch.arange(8, device=rows.device)
    return (flat.reshape(rows.shape[0], -1, 8) * powers).sum(2).to(torch.uint8)


def reference_quadtree_conv(
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
    """The op in plain PyTorch."""
    settings = (mode, activation, slope, norm, eps)
    out, rounds = masked_quadtree_conv(x, weight, bias, scale, shift, None, index, explore, tile, *settings)
    results = [s.before.to(x.dtype) for s in rounds[1:]] + [out]
    store = stored_rows(results, index, tile, rows)
    pre, stats = x.new_empty(0), rounds[0].mean
    if norm != NO_NORM:
        pre = stored_rows([s.convolved.to(x.dtype) for s in rounds], index, tile, rows)
        stats = torch.stack([torch.stack([s.mean.flatten(1), s.rstd.flatten(1)], dim=1) for s in rounds])
    elif keeps_signs(mode, activation, norm):
        pre = pack_signs(stored_rows([s.convolved for s in rounds], index, tile, rows))
    return laid_out_like(x, out), store, pre, stats


def laid_out_like(x: Tensor, out: Tensor) -> Tensor:
    """A copy of a map in the layout of x."""
    return out.clone(memory_format=layout_of(x))


def reference_quadtree_conv_backward(
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
    """The gradients in plain PyTorch: the rounds are computed again, densely, and walked in reverse."""
    settings = (mode, activation, slope, norm, eps)
    _, rounds = masked_quadtree_conv(x, weight, bias, scale, shift, None, index, explore, tile, *settings)
    kind = rounds[0].source.dtype
    tiles = x.shape[0] * math.prod(grid_of(x.shape[2:], tile))
    listed = flags_of_tiles(index, tiles) | flags_of_tiles(explore, tiles)
    g, from_first = grad.to(kind), torch.zeros_like(rounds[0].source)
    dweight = torch.zeros_like(weight, dtype=kind)
    dbias, dscale, dshift = (x.new_zeros(weight.shape[:2], dtype=kind) for _ in range(3))
    dgate = x.new_zeros((weight.shape[0], tiles), dtype=kind)
    axes = [0, *range(2, x.ndim)]
    with torch.autocast(x.device.type, enabled=False):
        for r in reversed(range(weight.shape[0])):
            s = rounds[r]
            change = s.value - s.before if mode == REPLACE else s.value
            dgate[r] = cut_tiles(g * change, tile).flatten(1).sum(1) * listed[r]
            du = torch.where(s.mask, g, 0.0)
            if mode == REPLACE:
                g = g - du
            factor = None if scale is None else per_channel(scale[r].to(kind), x.ndim)
            du, normal = _through_activation(s, du, factor, None if shift is None else shift[r], activation, slope)
            if norm != NO_NORM:
                dscale[r], dshift[r] = (du * normal).sum(axes), du.sum(axes)
                du = _through_norm(s, du, normal, factor, norm)
            dsource, dweight[r], dbias[r] = torch.ops.aten.convolution_backward(
                du,
                s.source,
                weight[r].to(kind),
                [weight.shape[1]],
                [1] * len(tile),
                [weight.shape[-1] // 2] * len(tile),
                [1] * len(tile),
                False,
                [0] * len(tile),
                1,
                [True, True, True],
            )
            if mode == PARALLEL:
                from_first = from_first + dsource
            else:
                g = g + dsource
    nothing = x.new_zeros(0)
    dx = laid_out_like(x, (g + from_first).to(x.dtype)) if need_x else nothing
    parameters = ((dweight, weight), (dbias, bias), (dscale, scale), (dshift, shift))
    found = [d.to(p.dtype) if need_weight and p is not None else weight.new_zeros(0) for d, p in parameters]
    return dx, found[0], found[1], found[2], found[3], dgate if need_gate else nothing.to(kind)


def _through_activation(
    s: Round, dvalue: Tensor, scale: Tensor | None, shift: Tensor | None, activation: int, slope: float
) -> tuple[Tensor, Tensor]:
    """Gradient of what enters the activation, and the normalised map (the convolution where there is no norm)."""
    normal = v = s.convolved
    if s.mean.numel():
        normal = v = (s.convolved - s.mean) * s.rstd
        v = v if scale is None else v * scale
        v = v if shift is None else v + per_channel(shift.to(v.dtype), v.ndim)
    if activation == NO_ACTIVATION:
        return dvalue, normal
    return torch.where(v > 0, dvalue, dvalue * (slope if activation == LEAKY_RELU else 0.0)), normal


def _through_norm(s: Round, dv: Tensor, normal: Tensor, scale: Tensor | None, norm: int) -> Tensor:
    """Gradient of the convolution behind a normalisation over the mask; dv is 0 outside of it."""
    axes = [0, *range(2, dv.ndim)] if norm == BATCH_NORM else list(range(2, dv.ndim))
    d = dv if scale is None else dv * scale
    n = s.mask.sum(axes, keepdim=True).clamp(min=1)
    centred = d - d.sum(axes, keepdim=True) / n - normal * (d * normal).sum(axes, keepdim=True) / n
    return torch.where(s.mask, s.rstd * centred, 0.0)
