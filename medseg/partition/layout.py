"""The grids of blocks that the rounds of a partition have on an image: plain integers, the same for every sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from medseg.ops.quadtree_plan import blocks_inside, list_width, tile_sides
from medseg.partition.settings import PlanSettings

SMALLEST_TILE = 8
_SPLIT_RATIO = 1 / math.sqrt(2)


class BlockLayout(NamedTuple):
    """The fixed part of a partition.

    Attributes:
        size: spatial size of the image in voxels.
        root: root blocks along each axis (round 0).
        grids: blocks along each axis in rounds 1 to R.
        keep: largest number of blocks kept in each round, per sample.
        limit: lower limits of the score (exclusive), one per round; empty for none.

    Example:
        >>> from medseg.partition import PlanSettings, block_layout
        >>> layout = block_layout((64, 48), PlanSettings(rounds=2))
        >>> layout.grid, layout.tile, layout.rows(batch=1)
        ((8, 8), (8, 6), [32, 16])
    """

    size: tuple[int, ...]
    root: tuple[int, ...]
    grids: tuple[tuple[int, ...], ...]
    keep: tuple[int, ...]
    limit: tuple[float, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """Tiles (blocks of the last round) along each axis."""
        return self.grids[-1]

    @property
    def tile(self) -> tuple[int, ...]:
        """Side of a tile in voxels, ``ceil(size / grid)``."""
        return tile_sides(self.size, self.grid)

    @property
    def block_counts(self) -> tuple[int, ...]:
        """Blocks of each round that reach into the image."""
        return tuple(math.prod(blocks_inside(self.size, g, self.grid)) for g in self.grids)

    def rows(self, batch: int) -> list[int]:
        """Largest number of active tiles of each round in a batch. It does not depend on the image."""
        return [
            list_width(batch, self.grids, [k if r == q else 0 for q, k in enumerate(self.keep)])
            for r in range(len(self.grids))
        ]


def block_layout(size: Sequence[int], settings: PlanSettings) -> BlockLayout:
    """Grids and numbers of kept blocks on an image.

    Args:
        size: spatial size of the image in voxels.
        settings: the settings of the partition.

    Raises:
        ValueError: if the settings do not fit the number of axes, or the image is smaller than the grid of tiles.

    Example:
        >>> from medseg.partition import PlanSettings, block_layout
        >>> block_layout((64, 48), PlanSettings(rounds=2)).grids
        ((4, 4), (8, 8))
    """
    size = tuple(int(s) for s in size)
    if settings.spacing is not None and len(settings.spacing) != len(size):
        raise ValueError(
            f"spacing {settings.spacing} for an image with {len(size)} spatial axes; expected one number per axis"
        )
    root = _root(size, settings)
    splits = split_axes(size, root, settings.rounds, settings.spacing)
    grids, grid = [], root
    for split in splits:
        grid = tuple(g * (2 if s else 1) for g, s in zip(grid, split, strict=True))
        grids.append(grid)
    if any(g > s for g, s in zip(grid, size, strict=True)):
        raise ValueError(
            f"{settings.rounds} rounds from root {root} cut an image of size {size} into {grid} tiles, "
            "less than a voxel each; use fewer rounds or a smaller root"
        )
    counts = [math.prod(blocks_inside(size, g, grid)) for g in grids]
    shares = settings.budget or (1.0,) * settings.rounds
    keep = tuple(max(1, math.floor(b * n + 1e-9)) for b, n in zip(shares, counts, strict=True))
    return BlockLayout(size, root, tuple(grids), keep, settings.threshold or ())


def split_axes(
    size: Sequence[int], root: Sequence[int], rounds: int, spacing: Sequence[float] | None
) -> list[tuple[bool, ...]]:
    """Which axes each round splits.

    Every round splits every axis, except in 3-D with a given voxel spacing: there an axis is split in a round only if
    the side of its blocks in mm is at least the largest side divided by sqrt(2). Blocks whose
    sides differ much become more similar in every round, until their sides differ by a factor of at most sqrt(2).
    """
    if spacing is None or len(size) < 3:
        return [(True,) * len(size)] * rounds
    sides = [s / g * h for s, g, h in zip(size, root, spacing, strict=True)]
    rows = []
    for _ in range(rounds):
        smallest = max(sides) * _SPLIT_RATIO * (1 - 1e-9)
        split = tuple(side >= smallest for side in sides)
        sides = [side / 2 if s else side for side, s in zip(sides, split, strict=True)]
        rows.append(split)
    return rows


def _root(size: tuple[int, ...], settings: PlanSettings) -> tuple[int, ...]:
    """Root blocks along each axis; the default makes the tiles at least 8 voxels wide, with 2 roots at least."""
    if settings.root is None:
        return tuple(max(2, s // (SMALLEST_TILE * 2**settings.rounds)) for s in size)
    if isinstance(settings.root, int):
        return (settings.root,) * len(size)
    if len(settings.root) != len(size):
        raise ValueError(
            f"root {settings.root} for an image with {len(size)} spatial axes; expected one number per axis"
        )
    return settings.root
