"""Resample volumes axis by axis, a slab at a time, so that no second volume on the larger grid is ever made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from medseg.geometry.axis_resampling import AxisMap, AxisNeighbours, axis_neighbours

__all__ = ["AxisResampler"]

_SLAB_VALUES = 1 << 20  # values of a slab on the larger grid: 4 MB in float32

Pointwise = Callable[[Tensor], Tensor]


class AxisResampler:
    """Linear (or nearest) resampling from one grid to another whose axes are parallel.

    The source is read and the result is made in slabs along the axis with the largest step in the source's memory. The
    same numbers are computed in the same order for every slab and every box of the result, so that a part is bit-equal
    to that part of the whole.

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
        result = torch.empty((image.shape[0], *self.target), dtype=torch.float32, device=image.device)
        for part, slab in self.slabs(image, before):
            place = (slice(None), *part)
            result[place] = slab
        return result

    def slabs(
        self, image: Tensor, before: Pointwise | None = None, box: Sequence[slice] | None = None
    ) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
        """Slabs of the result, each with the part of the target that it fills.

        Args:
            image: the source ``[C, *source]``.
            before: see `whole`.
            box: part of the target that is wanted, one slice an axis with numbers; all of it by default.
        """
        wanted = [slice(0, n) for n in self.target] if box is None else list(box)
        steps = [image.stride(axis + 1) for axis in range(len(wanted))]
        cut = steps.index(max(steps))
        along = [_part(whole, part) for whole, part in zip(self.neighbours, wanted, strict=True)]
        larger = [max(n, m) for n, m in zip(self.source, self.target, strict=True)]
        plane = max(1, int(np.prod(larger)) // max(1, larger[cut]) * image.shape[0])
        thickness = max(1, _SLAB_VALUES // plane)
        for start in range(wanted[cut].start, wanted[cut].stop, thickness):
            part = list(wanted)
            part[cut] = slice(start, min(start + thickness, wanted[cut].stop))
            along[cut] = _part(self.neighbours[cut], part[cut])
            yield tuple(part), self._slab(image, before, along, cut)

    def _slab(self, image: Tensor, before: Pointwise | None, along: list[AxisNeighbours], cut: int) -> Tensor:
        planes, nearby = _needed(along[cut])
        slab = image.index_select(cut + 1, torch.from_numpy(planes).to(image.device))
        slab = (slab if before is None else before(slab)).to(torch.float32)
        # What shrinks comes first, what grows comes last: then every step has little to do. The order depends on the
        # two grids alone, so that all slabs are computed alike.
        order = sorted(range(len(along)), key=lambda axis: self.target[axis] / max(1, self.source[axis]))
        for axis in order:
            slab = _mix(slab, axis + 1, nearby if axis == cut else along[axis])
        return slab


def _part(along: AxisNeighbours, part: slice) -> AxisNeighbours:
    return AxisNeighbours(along.lower[part], along.upper[part], along.weight[part])


def _needed(along: AxisNeighbours) -> tuple[np.ndarray, AxisNeighbours]:
    """The source planes that are read at all, and the neighbours counted among them."""
    planes = np.unique(np.concatenate([along.lower, along.upper[along.weight > 0]]))
    upper = np.where(along.weight > 0, along.upper, along.lower)
    return planes, AxisNeighbours(np.searchsorted(planes, along.lower), np.searchsorted(planes, upper), along.weight)


def _mix(slab: Tensor, axis: int, along: AxisNeighbours) -> Tensor:
    """lower + weight x (upper - lower) along one axis."""
    count = slab.shape[axis]
    if not along.weight.any():
        if len(along.lower) == count and (along.lower == np.arange(count)).all():
            return slab
        return slab.index_select(axis, _on(along.lower, slab))
    low = slab.index_select(axis, _on(along.lower, slab))
    high = slab.index_select(axis, _on(along.upper, slab))
    shape = [1] * slab.ndim
    shape[axis] = -1
    weight = _on(along.weight, slab).view(shape)
    # Separate steps: a fused multiply-add would round differently in vectors and in their remainders.
    return high.sub_(low).mul_(weight).add_(low)


def _on(numbers: np.ndarray, slab: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers)).to(slab.device)
