"""Resample volumes axis by axis, a slab at a time, so that no second volume on the larger grid is ever made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from medseg.geometry.axis_resampling import AxisMap, AxisNeighbours, axis_neighbours

__all__ = ["AxisResampler"]

_SLAB_VALUES = 1 << 22  # values of a slab on the larger grid: 16 MB in float32

Pointwise = Callable[[Tensor], Tensor]


class AxisResampler:
    """Linear (or nearest) resampling from one grid to another whose axes are parallel.

    The source is read and the result is made in slabs along the first spatial axis. The same numbers are computed in
    the same order for every slab and every box of the result, so that a part is bit-equal to that part of the whole.

    Args:
        source: voxels of the source along its axes.
        target: voxels of the target along its axes.
        axes: target index to source index.
        nearest: closest voxel instead of linear interpolation.
    """

    def __init__(self, source: Sequence[int], target: Sequence[int], axes: AxisMap, nearest: bool = False) -> None:
        self.source, self.target = tuple(source), tuple(target)
        self.neighbours = [
            axis_neighbours(m, n, float(scale), float(shift), nearest)
            for m, n, scale, shift in zip(target, source, axes.scale, axes.shift, strict=True)
        ]

    def whole(self, image: Tensor, before: Pointwise | None = None) -> Tensor:
        """The resampled volume ``[C, *target]`` in float32 of an image ``[C, *source]`` of any real type.

        Args:
            image: the source.
            before: a function of single values that is applied to the source, slab by slab.
        """
        result: Tensor | None = None
        for start, slab in self.slabs(image, before):
            if result is None:
                result = slab.new_empty((slab.shape[0], *self.target))
            result[:, start : start + slab.shape[1]] = slab
        if result is None:
            return image.new_empty((image.shape[0], *self.target), dtype=torch.float32)
        return result

    def slabs(
        self, image: Tensor, before: Pointwise | None = None, box: Sequence[slice] | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Slabs ``[C, n, *rest]`` of the result with the index of their first plane.

        Args:
            image: the source ``[C, *source]``.
            before: see `whole`.
            box: part of the target that is wanted, one slice an axis; all of it by default.
        """
        box = [slice(0, n) for n in self.target] if box is None else list(box)
        first, *rest = [_part(along, part) for along, part in zip(self.neighbours, box, strict=True)]
        # A smaller axis is resampled sooner: then the later steps have less to do.
        order = sorted(range(len(rest)), key=lambda axis: self.target[axis + 1] / max(1, self.source[axis + 1]))
        plane = max(1, int(np.prod([max(n, m) for n, m in zip(self.source[1:], self.target[1:], strict=True)])))
        step = max(1, _SLAB_VALUES // (plane * max(1, image.shape[0])))
        count = len(first.lower)
        for start in range(0, count, step):
            along = _part(first, slice(start, min(start + step, count)))
            planes, along = _needed(along)
            slab = _values(image.index_select(1, _index(planes, image)), before)
            growing = len(planes) < len(along.lower)
            if growing:
                slab = _mix(slab, 1, along)
            for axis in order:
                slab = _mix(slab, axis + 2, rest[axis])
            yield box[0].start + start, slab if growing else _mix(slab, 1, along)


def _values(slab: Tensor, before: Pointwise | None) -> Tensor:
    return (slab if before is None else before(slab)).to(torch.float32)


def _part(along: AxisNeighbours, part: slice) -> AxisNeighbours:
    return AxisNeighbours(along.lower[part], along.upper[part], along.weight[part])


def _needed(along: AxisNeighbours) -> tuple[np.ndarray, AxisNeighbours]:
    """The source planes that are read at all, and the neighbours counted among them."""
    planes = np.unique(np.concatenate([along.lower, along.upper[along.weight > 0]]))
    upper = np.where(along.weight > 0, along.upper, along.lower)
    return planes, AxisNeighbours(np.searchsorted(planes, along.lower), np.searchsorted(planes, upper), along.weight)


def _index(numbers: np.ndarray, image: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers)).to(image.device)


def _mix(slab: Tensor, axis: int, along: AxisNeighbours) -> Tensor:
    """lower + weight x (upper - lower) along one axis."""
    count = slab.shape[axis]
    if not along.weight.any():
        if len(along.lower) == count and (along.lower == np.arange(count)).all():
            return slab
        return slab.index_select(axis, _index(along.lower, slab))
    low = slab.index_select(axis, _index(along.lower, slab))
    high = slab.index_select(axis, _index(along.upper, slab))
    shape = [1] * slab.ndim
    shape[axis] = -1
    weight = torch.from_numpy(np.ascontiguousarray(along.weight)).to(slab.device).view(shape)
    # Separate steps: a fused multiply-add would round differently in vectors and in their remainders.
    return high.sub_(low).mul_(weight).add_(low)
