"""From class scores to labels while they are resampled: the scores never exist as a whole on the larger grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from medseg.geometry.axis_resampling import AxisNeighbours

__all__ = ["DISCRETE", "Discretisation", "Resampler", "ScoreRule"]

DISCRETE = "medseg_discretisation"
"""Key in the meta data of scores that asks the inverse of a resampling for labels."""


class Resampler(Protocol):
    """The resampling of scores, whole or slab by slab."""

    target: tuple[int, ...]
    neighbours: list[AxisNeighbours]

    def slabs(
        self, image: Tensor, before: None = ..., box: Sequence[slice] | None = ...
    ) -> Iterator[tuple[tuple[slice, ...], Tensor]]: ...


class ScoreRule(Protocol):
    """What an inverse resampling makes of scores, on the whole or slab by slab."""

    def __call__(self, scores: Tensor) -> Tensor: ...

    def resampled(self, resampler: Resampler, scores: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Discretisation:
    """How scores become labels.

    Attributes:
        threshold: 1 where a score is at least this value, channel by channel; None takes the channel with the highest
            score as the label (the first of equals).
    """

    threshold: float | None

    def __call__(self, scores: Tensor) -> Tensor:
        """Labels, uint8: ``[C, *spatial]`` for a threshold, ``[1, *spatial]`` for the highest score."""
        if self.threshold is None:
            return scores.argmax(0, keepdim=True).to(torch.uint8)
        return (scores >= self.threshold).to(torch.uint8)

    def resampled(self, resampler: Resampler, scores: Tensor) -> Tensor:
        """The labels of the resampled scores: bit-equal to resampling all of them first."""
        channels = 1 if self.threshold is None else scores.shape[0]
        labels = torch.zeros((channels, *resampler.target), dtype=torch.uint8, device=scores.device)
        box = self._box(resampler, scores)
        if box is None:
            return labels
        for part, slab in resampler.slabs(scores, box=box):
            place = (slice(None), *part)
            labels[place] = self(slab)
        return labels

    def _box(self, resampler: Resampler, scores: Tensor) -> list[slice] | None:
        """The part of the target that can hold a label: a mean of scores below the threshold is below it, too."""
        if self.threshold is None:
            return [slice(0, n) for n in resampler.target]
        # NaN is never at least the threshold.
        reached = (scores >= self.threshold).any(0)
        box = []
        for axis, along in enumerate(resampler.neighbours):
            others = [a for a in range(reached.ndim) if a != axis]
            line = reached.amax(dim=others).cpu().numpy()
            touched = np.flatnonzero(line[along.lower] | line[along.upper])
            if not len(touched):
                return None
            box.append(slice(int(touched[0]), int(touched[-1]) + 1))
        return box
