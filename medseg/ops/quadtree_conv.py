"""``medseg::quadtree_conv``: convolutions in rounds, each on its own active tiles of a map.

With y_0 = x and z_r = act(norm(W_r * y + b_r)), where y is y_{r-1}, or x in mode ``parallel``:

    replace         y_r = z_r on Omega_r, y_{r-1} elsewhere
    sum, parallel   y_r = y_{r-1} + z_r on Omega_r, y_{r-1} elsewhere

This is a masked dense convolution in every round, at the cost of the active tiles. A kernel that reaches over the
border of a tile reads values outside Omega_r; they are never written. The statistics of a normalisation are taken over
the active positions of the round only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import medseg.ops._quadtree_conv_op  # noqa: F401  (registers the op)
from medseg.ops._checks import check_floating, check_same_device, shape_text
from medseg.ops._codes import ACTIVATIONS, MODES, NORMS
from medseg.ops._quadtree_conv_arguments import check_quadtree_conv, check_rows, grid_of


def quadtree_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    gate: Tensor | None = None,
    *,
    index: Tensor,
    count: Tensor,
    explore: Tensor | None = None,
    grid: Sequence[int],
    rows: Sequence[int] | None = None,
    mode: str = "replace",
    activation: str | None = "relu",
    slope: float = 0.01,
    norm: str | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Convolves a map in rounds, each round on its active tiles.

    Tiles have the side ``ceil(S / grid)`` along each axis and are numbered in raster order over batch and grid, last
    axis fastest. Positions of border tiles outside of the map are ignored. The convolution accumulates in float32
    (float64 for float64); under autocast a float32 map is cast to autocast's dtype, parameters keep their dtype. The
    forward pass does not use the values of the gate: the lists decide. Its gradient is, for every tile of a round's
    list or of ``explore``, the scalar product of the gradient at y_r with what the round changes (or would change) in
    the tile; 0 for all other tiles. The compiled op gives the same bits for every number of threads.

    Args:
        x: ``[B, C, H, W]`` or ``[B, C, D, H, W]``, any strides; float32, float64, bfloat16 (float16 on CUDA).
        weight: ``[R, C, C, k, k]`` or ``[R, C, C, k, k, k]``, k 1, 3 or 5: one kernel a round, R at least 1.
        bias: ``[R, C]``, added to the convolution.
        scale: ``[R, C]``, factor after the normalisation; only with a norm.
        shift: ``[R, C]``, summand after the normalisation; only with a norm.
        gate: ``[R, B * prod(grid)]``, which receives the gradient of the selection.
        index: int32 ``[R, W]``, active tiles of each round without repetition, then -1.
        count: int32 ``[R]``, how many numbers of each row are valid.
        explore: int32 ``[R, E]``, rejected tiles that get a gate gradient as well, -1 for none.
        grid: tiles per axis.
        rows: tiles to reserve memory for in each round, at least ``count``. Default: ``count``, which on CUDA needs a
            host synchronisation; while tracing, the width of ``index``.
        mode: ``replace``, ``sum`` or ``parallel``.
        activation: None, ``relu`` or ``leaky_relu``.
        slope: of the leaky ReLU, at least 0.
        norm: None, ``batch`` (statistics over the batch) or ``instance`` (per sample), biased variance; where
            nothing is active, mean 0 and deviation 1.
        eps: added to the variance.

    Returns:
        ``(out, stats)``: out has the shape, dtype and layout of x; stats ``[R, 1 or B, 2, C]`` mean and
        1 / sqrt(variance + eps), float32 (float64 for float64), empty without a norm, without gradient.

    Raises:
        ValueError: for names, shapes, devices or tile numbers that do not fit.
        TypeError: for dtypes that do not fit.

    Example:
        One round that doubles the last of four tiles:

        >>> import torch
        >>> from medseg.ops import quadtree_conv
        >>> x, weight = torch.ones(1, 1, 4, 4), torch.full((1, 1, 1, 1, 1), 2.0)
        >>> index, count = torch.tensor([[3]], dtype=torch.int32), torch.tensor([1], dtype=torch.int32)
        >>> out, stats = quadtree_conv(x, weight, index=index, count=count, grid=(2, 2))
        >>> out[0, 0, 3].tolist()
        [1.0, 1.0, 2.0, 2.0]
    """
    given = {"bias": bias, "scale": scale, "shift": shift, "gate": gate, "explore": explore}
    there = {name: t for name, t in given.items() if t is not None}
    floating = {name: t for name, t in there.items() if name != "explore"}
    check_floating("quadtree_conv", x=x, weight=weight, **floating)
    check_same_device("quadtree_conv", x=x, weight=weight, index=index, count=count, **there)
    settings = (
        _choice("mode", mode, MODES),
        _choice("activation", activation, ACTIVATIONS),
        float(slope),
        _choice("norm", norm, NORMS),
        float(eps),
    )
    _check_settings(slope, norm, scale, shift)
    check_quadtree_conv(x, weight, bias, scale, shift, index, count)
    if len(grid) != x.ndim - 2 or min(grid) < 1:
        raise ValueError(f"quadtree_conv: grid is {list(grid)}; expected {x.ndim - 2} numbers of tiles, at least 1")
    if explore is None:
        explore = index.new_empty((index.shape[0], 0))
    check_rows("explore", explore, index.shape[0])
    device = x.device.type
    if x.dtype == torch.float32 and torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    if x.dtype == torch.float16 and device == "cpu":
        raise TypeError("quadtree_conv: x is torch.float16 on the CPU; expected float32, float64 or bfloat16")
    tile = [-(-s // g) for s, g in zip(x.shape[2:], grid, strict=True)]
    inside = grid_of(x.shape[2:], tile)
    if gate is not None:
        gate = _gate_inside(gate, index.shape[0], x.shape[0], grid, inside)
    if tuple(grid) != inside:
        index, explore = (_renumber(t, grid, inside) for t in (index, explore))
    if rows is None:
        tracing = torch.compiler.is_compiling() or index.device.type == "meta"
        rows = [index.shape[1]] * index.shape[0] if tracing else count.tolist()
    out, _, _, stats = torch.ops.medseg.quadtree_conv(
        x, weight, bias, scale, shift, gate, index, count, explore, tile, list(rows), *settings
    )
    return out, stats


def _choice(name: str, value: str | None, known: dict[Any, int]) -> int:
    if value not in known:
        choices = ", ".join("None" if k is None else k for k in known)
        raise ValueError(f"quadtree_conv: {name} is {value!r}; expected one of {choices}")
    return known[value]


def _check_settings(slope: float, norm: str | None, scale: Tensor | None, shift: Tensor | None) -> None:
    if slope < 0:
        raise ValueError(f"quadtree_conv: slope is {slope:g}; expected at least 0")
    if norm is None and (scale is not None or shift is not None):
        raise ValueError("quadtree_conv: scale or shift without a norm; give norm, or fold them into weight and bias")


def _gate_inside(gate: Tensor, rounds: int, batch: int, grid: Sequence[int], inside: Sequence[int]) -> Tensor:
    """The gates of the tiles that meet the map."""
    if tuple(gate.shape) != (rounds, batch * math.prod(grid)):
        raise ValueError(
            f"quadtree_conv: gate has shape {shape_text(gate)}; expected [{rounds}, {batch * math.prod(grid)}], "
            "one value a tile"
        )
    if tuple(grid) == tuple(inside):
        return gate
    cut = gate.reshape(rounds, batch, *grid)
    for axis, n in enumerate(inside):
        cut = cut.narrow(2 + axis, 0, n)
    return cut.reshape(rounds, -1)


def _renumber(tiles: Tensor, grid: Sequence[int], inside: Sequence[int]) -> Tensor:
    """Numbers of tiles of a grid as numbers in its corner that meets the map; tiles outside of the map become -1."""
    rest, number, stride = tiles, torch.zeros_like(tiles), 1
    valid = tiles >= 0
    for g, n in zip(reversed(grid), reversed(inside), strict=True):
        at = rest % g
        valid = valid & (at < n)
        number, stride, rest = number + at * stride, stride * n, rest // g
    return torch.where(valid, number + rest * stride, -1).to(torch.int32)
