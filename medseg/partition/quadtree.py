"""Quadtree and Octree: a plan with the layout and settings behind it, to inspect, count and plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from medseg.partition.costs import Macs, active_fractions, count_macs, target_cover, voxel_masks
from medseg.partition.explore import candidate_blocks, kept_blocks
from medseg.partition.layout import BlockLayout, block_layout
from medseg.partition.make import plan_and_scores, plan_from_scores
from medseg.partition.plan import BlockPlan
from medseg.partition.plot import BlockDrawing, plot_blocks
from medseg.partition.settings import PlanSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Octree", "Quadtree", "spacing_of_image"]


class Quadtree:
    """A partition of 2-D images into blocks that shrink round by round where the image varies.

    Round 0 is a grid of root blocks. Round r splits the blocks kept in round r - 1 (round 1: all roots) in two along
    each axis, and keeps the children that vary most. Make one with `from_image` or `from_scores`.

    Attributes:
        plan: the tensors that layers receive.
        layout: grids of all rounds.
        settings: the settings that were given.
        scores: ``[B, sum of blocks]``, scores of all rounds' blocks, round after round in raster order; None if the
            tree was made from a map of scores.

    Example:
        >>> import torch
        >>> from medseg.partition import Quadtree
        >>> Quadtree.from_image(torch.eye(64)[None, None], rounds=2)
        Quadtree(size=(64, 64), root=(2, 2), grid=(8, 8), active=[0.500, 0.250])
    """

    spatial_dims = 2

    def __init__(
        self, plan: BlockPlan, layout: BlockLayout, settings: PlanSettings, scores: Tensor | None = None
    ) -> None:
        self.plan, self.layout, self.settings, self.scores = plan, layout, settings, scores

    @classmethod
    def from_image(
        cls,
        guide: Tensor,
        rounds: int = 3,
        root: int | Sequence[int] | None = None,
        budget: Sequence[float] | None = None,
        threshold: float | Sequence[float] | None = None,
        metric: str = "gradient",
        reduce: str = "max",
        spacing: Sequence[float] | None = None,
        generator: torch.Generator | None = None,
    ) -> Quadtree:
        """Partitions images by their own variation.

        Args:
            guide: ``[B, C, *S]``. The affine of a `MetaTensor` gives the voxel spacing unless ``spacing`` is given.
            rounds: number of rounds.
            root: see `PlanSettings`, like the arguments that follow.
            budget: share of the blocks kept in each round; default 0.5, 0.25, 0.125, ...
            threshold: score above which a block is kept.
            metric: ``gradient``, ``variance``, ``range``, ``entropy`` or ``random``.
            reduce: ``max`` or ``mean``.
            spacing: side of a voxel along each axis in mm.
            generator: source of the random scores.

        Raises:
            ValueError: for an image or settings that do not fit.
        """
        cls._check(guide)
        if spacing is None:
            spacing = spacing_of_image(guide)
        settings = _settings(rounds, root, budget, threshold, metric, reduce, spacing)
        values = guide.as_tensor() if isinstance(guide, MetaTensor) else guide
        plan, scores = plan_and_scores(values, settings, generator)
        return cls(plan, block_layout(values.shape[2:], settings), settings, scores)

    @classmethod
    def from_scores(
        cls,
        scores: Tensor,
        rounds: int = 3,
        root: int | Sequence[int] | None = None,
        budget: Sequence[float] | None = None,
        threshold: float | Sequence[float] | None = None,
        reduce: str = "max",
        spacing: Sequence[float] | None = None,
    ) -> Quadtree:
        """Partitions by a given map, such as the probabilities of a network or a target mask (the oracle).

        Args:
            scores: ``[B, C, *S]``; a block's score is the maximum (``reduce="mean"``: the mean) over its voxels.
            rounds: number of rounds.
            root: see `PlanSettings`, like the arguments that follow.
            budget: share of the blocks kept in each round; default 0.5, 0.25, 0.125, ...
            threshold: score above which a block is kept.
            reduce: ``max`` or ``mean``.
            spacing: side of a voxel along each axis in mm; default: the affine of a `MetaTensor`.

        Raises:
            ValueError: for a map or settings that do not fit.
        """
        cls._check(scores)
        if spacing is None:
            spacing = spacing_of_image(scores)
        settings = _settings(rounds, root, budget, threshold, "gradient", reduce, spacing)
        values = scores.as_tensor() if isinstance(scores, MetaTensor) else scores
        values = values if values.is_floating_point() else values.float()
        return cls(plan_from_scores(values, settings), block_layout(values.shape[2:], settings), settings)

    @classmethod
    def _check(cls, image: Tensor) -> None:
        if image.ndim != cls.spatial_dims + 2:
            raise ValueError(
                f"{cls.__name__}: image has shape {list(image.shape)}; expected [B, C, *S] with {cls.spatial_dims} "
                "spatial axes (Quadtree for 2, Octree for 3)"
            )

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(self.layout.grids)

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size of the image in voxels."""
        return self.layout.size

    @property
    def root(self) -> tuple[int, ...]:
        """Root blocks along each axis."""
        return self.layout.root

    @property
    def grid(self) -> tuple[int, ...]:
        """Tiles (blocks of the last round) along each axis."""
        return self.layout.grid

    @property
    def tile(self) -> tuple[int, ...]:
        """Side of a tile in voxels."""
        return self.layout.tile

    def blocks(self, r: int) -> Tensor:
        """The blocks kept in round r (1 to R; 0: the roots), as boxes.

        Returns:
            int64 ``[N, 1 + 2 d]``: sample, first voxel along each axis, end (exclusive) along each axis; cut at the
            border of the image, in ascending order.
        """
        if not 0 <= r <= self.rounds:
            raise ValueError(f"round is {r}; expected 0 (roots) to {self.rounds}")
        if r == 0:
            roots = torch.ones(self.plan.batch, *self.root, dtype=torch.bool)
            return self._boxes(roots)
        return self._boxes(kept_blocks(self.plan, self.layout)[r - 1])

    def leaves(self) -> tuple[Tensor, Tensor]:
        """The blocks that tile the image exactly once: those that are not split further.

        Returns:
            ``(boxes, rounds)``: boxes as `blocks` gives them, int64 ``[N, 1 + 2 d]``, and the round of each ``[N]``.
        """
        kept = kept_blocks(self.plan, self.layout)
        boxes, rounds = [], []
        for r, (k, candidate) in enumerate(zip(kept, candidate_blocks(kept, self.layout), strict=True), start=1):
            found = self._boxes(candidate if r == self.rounds else candidate & ~k)
            boxes.append(found)
            rounds.append(torch.full((len(found),), r))
        return torch.cat(boxes), torch.cat(rounds)

    def _boxes(self, mask: Tensor) -> Tensor:
        """Boxes of the blocks of a mask ``[B, *grid]`` that reach into the image."""
        places = mask.nonzero().cpu()
        size = torch.tensor(self.size)
        side = torch.tensor([t * g // n for t, g, n in zip(self.tile, self.grid, mask.shape[1:], strict=True)])
        first = torch.minimum(places[:, 1:] * side, size)
        last = torch.minimum(first + side, size)
        return torch.cat([places[:, :1], first, last], 1)[(last > first).all(1)]

    @property
    def active_fraction(self) -> list[float]:
        """Share of the image's voxels inside every round's set, over the batch."""
        return active_fractions(self.plan, self.size).tolist()

    def masks(self) -> Tensor:
        """The sets of all rounds at the resolution of the image: bool ``[R, B, *S]``."""
        return voxel_masks(self.plan, self.size)

    def macs(self, channels: int, kernel_size: int = 3, size: Sequence[int] | None = None) -> Macs:
        """Multiply-adds of one convolution per round on a map of this many channels.

        Args:
            channels: channels in and out.
            kernel_size: side of the kernels.
            size: spatial size of the map; default: the image's.
        """
        return count_macs(self.plan, self.size if size is None else size, channels, kernel_size)

    def cover(self, target: Tensor) -> list[float]:
        """Share of a target mask ``[B, C, *S]`` inside every round's set, over the batch; NaN without a target."""
        return target_cover(self.plan, target).tolist()

    def plot(
        self,
        image: Tensor | None = None,
        sample: int = 0,
        channel: int = 0,
        axis: int = 0,
        position: int | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Draws the blocks of one sample over its image. Needs matplotlib.

        Args:
            image: ``[B, C, *S]``, drawn in grey below the blocks; default: none.
            sample: which sample of the batch.
            channel: which channel of the image.
            axis: in 3-D, the spatial axis that the plane is perpendicular to.
            position: in 3-D, voxel of the plane along that axis; default: the middle.
            ax: matplotlib axes to draw on; default: new ones.

        Returns:
            The axes; ``ax.figure.savefig(path)`` writes the picture.

        Raises:
            ValueError: for a sample, axis or position that does not exist, or an image of another size.
        """
        spacing, kept = self.settings.spacing, self.blocks(self.rounds)
        drawing = BlockDrawing(self.size, spacing, self.plan.batch, *self.leaves(), kept, self.active_fraction)
        return plot_blocks(drawing, image, sample, channel, axis, position, ax)

    def __repr__(self) -> str:
        active = ", ".join(f"{f:.3f}" for f in self.active_fraction)
        return f"{type(self).__name__}(size={self.size}, root={self.root}, grid={self.grid}, active=[{active}])"


class Octree(Quadtree):
    """The same in 3-D: blocks split in two along each axis, or, with a voxel spacing, along their longest axes only.

    Example:
        >>> import torch
        >>> from medseg.partition import Octree
        >>> Octree.from_image(torch.rand(1, 1, 32, 32, 32), rounds=2).grid
        (8, 8, 8)
    """

    spatial_dims = 3


def spacing_of_image(image: Tensor) -> tuple[float, ...] | None:
    """Voxel spacing of a batch ``[B, C, *S]`` along its spatial axes, from a `MetaTensor`'s affine; else None.

    Raises:
        ValueError: if the samples of the batch differ in their spacing.
    """
    if not isinstance(image, MetaTensor):
        return None
    dims = image.ndim - 2
    affines = np.asarray(image.affine, dtype=np.float64)
    affines = affines.reshape(-1, *affines.shape[-2:])
    spacings = np.linalg.norm(affines[:, :-1, :dims], axis=1)
    if not np.allclose(spacings, spacings[0], rtol=1e-3):
        raise ValueError(f"the samples of the batch have different spacings {spacings.round(3).tolist()}; give spacing")
    return tuple(float(v) for v in spacings[0])


def _settings(
    rounds: int,
    root: int | Sequence[int] | None,
    budget: Sequence[float] | None,
    threshold: float | Sequence[float] | None,
    metric: str,
    reduce: str,
    spacing: Sequence[float] | None,
) -> PlanSettings:
    return PlanSettings(
        rounds,
        root if root is None or isinstance(root, int) else tuple(root),
        None if budget is None else tuple(budget),
        (float(threshold),) * rounds
        if isinstance(threshold, int | float)
        else None
        if threshold is None
        else tuple(threshold),
        metric,
        reduce,
        None if spacing is None else tuple(spacing),
    )
