"""Problems for quadtree_conv and its oracle: masked dense convolutions, differentiated by autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from medseg.ops import quadtree_conv


class Problem(NamedTuple):
    """Arguments of quadtree_conv; what is differentiable requires a gradient."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    scale: Tensor | None
    shift: Tensor | None
    gate: Tensor
    index: Tensor
    count: Tensor
    explore: Tensor
    grid: tuple[int, ...]

    def leaves(self) -> list[Tensor]:
        return [t for t in self[:6] if t is not None]

    def lists(self) -> dict:
        return {"index": self.index, "count": self.count, "explore": self.explore, "grid": self.grid}

    def run(self, **settings: object) -> tuple[Tensor, Tensor]:
        return quadtree_conv(*self[:6], **self.lists(), **settings)

    def to(self, dtype: torch.dtype) -> Problem:
        moved = [None if t is None else t.detach().to(dtype).requires_grad_() for t in self[:6]]
        return Problem(*moved, *self[6:])

    def with_x(self, x: Tensor) -> Problem:
        return self._replace(x=x.detach().requires_grad_())


def pad_lists(rows: Sequence[Sequence[int]], width: int | None = None) -> tuple[Tensor, Tensor]:
    """Lists of tile numbers as ``index`` and ``count``."""
    width = max(1, *(len(r) for r in rows)) if width is None else width
    index = torch.tensor([[*sorted(r), *[-1] * (width - len(r))] for r in rows], dtype=torch.int32)
    return index.reshape(len(rows), width), torch.tensor([len(r) for r in rows], dtype=torch.int32)


def problem(
    shape: tuple[int, ...],
    grid: tuple[int, ...],
    densities: Sequence[float],
    *,
    kernel: int = 3,
    affine: bool = False,
    explore: int | None = 2,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Problem:
    """Random tensors and nested random lists.

    Args:
        shape: of x.
        grid: tiles per axis.
        densities: active share of the tiles in each round, not growing.
        kernel: side of the kernels.
        affine: with scale and shift.
        explore: rejected tiles a round to explore, None for all of them.
        dtype: of all tensors.
        seed: of the random generator.
    """
    generator = torch.Generator().manual_seed(seed)
    rounds, channels, d = len(densities), shape[1], len(grid)
    inside = tiles_inside(shape, grid)
    order = [inside[i] for i in torch.randperm(len(inside), generator=generator).tolist()]
    rows = [order[: round(f * len(order))] for f in densities]
    rejected = [order[len(r) :][:explore] for r in rows]
    index, count = pad_lists(rows)

    def draw(*size: int, factor: float = 1.0) -> Tensor:
        return (factor * torch.randn(size, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()

    reach = 1 / math.sqrt(channels * kernel**d)
    return Problem(
        draw(*shape),
        draw(rounds, channels, channels, *[kernel] * d, factor=reach),
        draw(rounds, channels, factor=0.2),
        draw(rounds, channels) if affine else None,
        draw(rounds, channels) if affine else None,
        draw(rounds, shape[0] * math.prod(grid)),
        index,
        count,
        pad_lists(rejected)[0],
        grid,
    )


def sides(shape: Sequence[int], grid: Sequence[int]) -> list[int]:
    return [-(-s // g) for s, g in zip(shape[2:], grid, strict=True)]


def tiles_inside(shape: Sequence[int], grid: Sequence[int]) -> list[int]:
    """Numbers of the tiles that meet the map."""
    numbers = torch.arange(shape[0] * math.prod(grid)).reshape(shape[0], *grid)
    for axis, (s, t) in enumerate(zip(shape[2:], sides(shape, grid), strict=True)):
        numbers = numbers.narrow(1 + axis, 0, -(-s // t))
    return numbers.flatten().tolist()


def pixel_mask(row: Tensor, shape: Sequence[int], grid: Sequence[int]) -> Tensor:
    """Bool ``[B, 1, *S]``: the positions of the listed tiles, drawn box by box."""
    mask = torch.zeros(shape[0], 1, *shape[2:], dtype=torch.bool)
    for number in row[row >= 0].tolist():
        rest, box = number, []
        for g, t in zip(reversed(grid), reversed(sides(shape, grid)), strict=True):
            box.insert(0, slice(rest % g * t, rest % g * t + t))
            rest //= g
        mask[(rest, 0, *box)] = True
    return mask


def gate_map(gate: Tensor, shape: Sequence[int], grid: Sequence[int]) -> Tensor:
    """One round's gates ``[B * G]`` as a map ``[B, 1, *S]``."""
    out = gate.reshape(shape[0], 1, *grid)
    for axis, side in enumerate(sides(shape, grid)):
        out = out.repeat_interleave(side, 2 + axis).narrow(2 + axis, 0, shape[2 + axis])
    return out


def masked_dense(
    p: Problem,
    *,
    mode: str = "replace",
    activation: str | None = "relu",
    slope: float = 0.01,
    norm: str | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Every round convolves the whole map; its mask decides. Gates enter as m + s - stop(s) on listed tiles."""
    convolve = functional.conv2d if p.x.ndim == 4 else functional.conv3d
    act = {None: lambda v: v, "relu": functional.relu, "leaky_relu": lambda v: functional.leaky_relu(v, slope)}[
        activation
    ]
    y = p.x
    for r in range(len(p.weight)):
        active, explored = pixel_mask(p.index[r], p.x.shape, p.grid), pixel_mask(p.explore[r], p.x.shape, p.grid)
        z = convolve(p.x if mode == "parallel" else y, p.weight[r], p.bias[r], padding=p.weight.shape[-1] // 2)
        z = normalised(z, active, norm, eps)
        wide = (1, -1, *[1] * (p.x.ndim - 2))
        z = z if p.scale is None else z * p.scale[r].reshape(wide) + p.shift[r].reshape(wide)
        change = act(z) - y if mode == "replace" else act(z)
        soft = gate_map(p.gate[r], p.x.shape, p.grid) * (active | explored)
        factor = active + soft - soft.detach()
        # Without the gate's factor on what the tiles compute: rejected tiles pass no gradient to kernel and map.
        y = y + torch.where(active, change, 0.0) + (factor - factor.detach()) * change.detach()
    return y


def normalised(z: Tensor, mask: Tensor, norm: str | None, eps: float) -> Tensor:
    """Normalisation over the masked positions, by gathering them."""
    if norm is None:
        return z
    groups = [range(z.shape[0])] if norm == "batch" else [[b] for b in range(z.shape[0])]
    parts = []
    for group in groups:
        part, chosen = z[list(group)], mask[list(group), 0]
        values = part.movedim(1, -1)[chosen]
        if len(values):
            wide = (1, -1, *[1] * (z.ndim - 2))
            mean, variance = values.mean(0), values.var(0, unbiased=False)
            part = (part - mean.reshape(wide)) / (variance + eps).sqrt().reshape(wide)
        parts.append(part)
    return torch.cat(parts)


def gradients(out: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of a fixed random functional of the output."""
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(out.dtype)
    return torch.autograd.grad(out, leaves, weight)
