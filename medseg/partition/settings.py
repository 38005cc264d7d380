"""Settings of a partition: rounds, budgets or thresholds, and how blocks are scored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from medseg.ops.quadtree_plan import MAX_ROUNDS, METRICS, REDUCTIONS

RANDOM = "random"
SCORES = (*METRICS, RANDOM)


def default_budget(rounds: int) -> tuple[float, ...]:
    """The shares 0.5, 0.25, 0.125, ...: every round keeps half the share of the round before.

    Example:
        >>> from medseg.partition import default_budget
        >>> default_budget(3)
        (0.5, 0.25, 0.125)
    """
    return tuple(0.5 ** (r + 1) for r in range(rounds))


@dataclass(frozen=True)
class PlanSettings:
    """Settings of a partition. Sequences are stored as tuples.

    Args:
        rounds: number of rounds R, 1 to 8.
        root: root blocks along each axis, one number or one per axis; round 1 has twice as many. Default: as many as
            make the last round's blocks at least 8 voxels wide, at least 2. ``root=1`` starts from the whole image.
        budget: largest share of a round's blocks that is kept, one number per round, none above the one before. The
            number of blocks is ``floor(share * blocks inside the image)``, at least 1, per sample. Default: 0.5, 0.25,
            0.125, ... without thresholds, no limit with thresholds.
        threshold: score above which a block is kept, one number or one per round. Together with a budget the budget
            is an upper limit.
        metric: ``gradient``, ``variance``, ``range``, ``entropy`` (see `medseg.ops.quadtree_plan`) or ``random``.
        reduce: how a block's score comes from its cells (gradient) or from a map of given scores: ``max`` or ``mean``.
        spacing: side of a voxel along each axis in mm. The gradient is then per mm, and in 3-D an axis is split only
            while its blocks are among the longest in mm.

    Raises:
        ValueError: for a value that is not allowed.

    Example:
        >>> from medseg.partition import PlanSettings
        >>> PlanSettings(rounds=2).budget, PlanSettings(rounds=2, threshold=0.5).budget
        ((0.5, 0.25), None)
    """

    rounds: int = 3
    root: int | tuple[int, ...] | None = None
    budget: tuple[float, ...] | None = None
    threshold: tuple[float, ...] | None = None
    metric: str = "gradient"
    reduce: str = "max"
    spacing: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= MAX_ROUNDS:
            raise ValueError(f"rounds is {self.rounds}; expected 1 to {MAX_ROUNDS}")
        if self.metric not in SCORES:
            raise ValueError(f"metric is {self.metric!r}; expected one of {', '.join(SCORES)}")
        if self.reduce not in REDUCTIONS:
            raise ValueError(f"reduce is {self.reduce!r}; expected one of {', '.join(REDUCTIONS)}")
        self._store("root", self._checked_root())
        self._store("threshold", self._checked_threshold())
        self._store("budget", self._checked_budget())
        if self.spacing is not None:
            spacing = tuple(float(s) for s in self.spacing)
            if not all(s > 0 and math.isfinite(s) for s in spacing):
                raise ValueError(f"spacing is {spacing}; expected positive numbers in mm")
            self._store("spacing", spacing)

    def _store(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _checked_root(self) -> int | tuple[int, ...] | None:
        root = self.root
        if root is None or isinstance(root, int):
            values: Sequence[int] = [] if root is None else [root]
        else:
            root = values = tuple(int(r) for r in root)
        if any(r < 1 for r in values):
            raise ValueError(f"root is {self.root}; expected at least 1 block along each axis")
        return root

    def _checked_threshold(self) -> tuple[float, ...] | None:
        if self.threshold is None:
            return None
        one = isinstance(self.threshold, int | float)
        values = (float(self.threshold),) * self.rounds if one else tuple(float(t) for t in self.threshold)  # type: ignore[arg-type]
        if len(values) != self.rounds or any(math.isnan(t) for t in values):
            raise ValueError(f"threshold is {self.threshold}; expected one number, or {self.rounds}: one per round")
        return values

    def _checked_budget(self) -> tuple[float, ...] | None:
        if self.budget is None:
            return default_budget(self.rounds) if self.threshold is None else None
        values = tuple(float(b) for b in self.budget)
        if len(values) != self.rounds:
            raise ValueError(f"budget is {values}; expected {self.rounds} shares, one per round")
        if any(not 0 < b <= 1 for b in values):
            raise ValueError(f"budget is {values}; expected shares above 0, up to 1")
        if any(b > a for a, b in itertools.pairwise(values)):
            raise ValueError(
                f"budget is {values}: it grows; expected shares that stay equal or fall from round to round"
            )
        return values
