"""The plan of blocks that adaptive layers receive: tensors only, so that tracing and exporting pass it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class BlockPlan(NamedTuple):
    """The active tiles of every round.

    A tile is a block of the last round. The grid of tiles is fixed; on a map of spatial size S a tile's side is
    ``ceil(S / grid)`` along each axis, so one plan fits every map whose tiles cover the same parts of the image. Tiles
    are numbered in raster order over ``(batch, *grid)``, last axis fastest. Every round's set lies inside the one
    before.

    Attributes:
        index: int32 ``[R, W]``, numbers of the active tiles of each round in ascending order, then -1.
        count: int32 ``[R]``, how many entries of each row are valid.
        mask: bool ``[R, B, *grid]``, the same sets as masks.

    Example:
        >>> import torch
        >>> from medseg.partition import PlanSettings, make_plan
        >>> plan = make_plan(torch.eye(8)[None, None], PlanSettings(rounds=2, root=1))
        >>> plan.rounds, plan.batch, plan.grid, plan.tile((8, 8))
        (2, 1, (4, 4), (2, 2))
    """

    index: Tensor
    count: Tensor
    mask: Tensor

    @property
    def rounds(self) -> int:
        """Number of rounds R."""
        return self.mask.shape[0]

    @property
    def batch(self) -> int:
        """Number of samples B."""
        return self.mask.shape[1]

    @property
    def grid(self) -> tuple[int, ...]:
        """Tiles along each axis."""
        return tuple(self.mask.shape[2:])

    def tile(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Side of a tile in voxels on a map of the given spatial size."""
        if len(size) != len(self.grid):
            raise ValueError(
                f"map of size {tuple(size)} for a plan with grid {self.grid}; expected {len(self.grid)} axes"
            )
        return tuple(-(-s // g) for s, g in zip(size, self.grid, strict=True))
