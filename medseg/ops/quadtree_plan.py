"""``medseg::quadtree_plan``: which blocks of an image vary most, as lists of tiles for the adaptive convolutions.

Rounds refine a grid of blocks: round r (of R) has ``grids[r]`` blocks along each axis, each axis a power of two finer
than, or equal to, the round before. A *tile* is a block of the last round; its side is ``ceil(size / grid)`` voxels, so
tiles at the far border may stick out of the image, and blocks wholly outside of it are never active. In every round
the candidates are the children of the blocks kept in the round before (in the first: all blocks); those whose score
is above the limit are kept, at most ``keep[r]`` of them, the highest scores first. A tie goes to the lowest index;
NaN counts as larger than every number, so that a broken image is noticed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medseg.ops._checks import check_floating, shape_text
from medseg.ops._codes import MAX_ROUNDS, METRICS, REDUCTIONS, VARIATIONS
from medseg.ops._load import register_op
from medseg.ops._quadtree_blocks import (
    active_lists,
    blocks_inside,
    expand_grid,
    inside_mask,
    list_width,
    pool_blocks,
    split_levels,
    tile_sides,
)
from medseg.ops._quadtree_reference import reference_scores, reference_select

Grids = Sequence[Sequence[int]]


def quadtree_plan(
    x: Tensor,
    grids: Grids,
    keep: Sequence[int],
    limit: Sequence[float] = (),
    metric: str = "gradient",
    reduce: str = "max",
    spacing: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores the blocks of every round by their variation and selects among them.

    The variation of a block is, per channel, one of

    - ``gradient``: magnitude of the gradient by central differences (one-sided at the border of the image), averaged
      over cells whose side is a quarter of a tile's, rounded up; the block takes the maximum of its cells
      (``reduce="max"``) or the mean over its voxels (``reduce="mean"``);
    - ``variance`` (biased), ``range`` (maximum minus minimum) or ``entropy`` (in nats, of a histogram of 32 equal bins
      between the minimum and the maximum of the image; NaN if the image is not finite) of its voxels, for either
      ``reduce``.

    The score is the maximum over the channels. The op has no gradient. On CUDA it needs no host synchronisation.

    Args:
        x: guide ``[B, C, *S]`` with 2 or 3 spatial axes and C >= 1; float16 and bfloat16 are computed in float32.
        grids: blocks along each axis, one row per round, coarse to fine.
        keep: blocks kept at most in each round, per sample.
        limit: lower limits of the score, one per round (exclusive); empty for none.
        metric: ``gradient``, ``variance``, ``range`` or ``entropy``.
        reduce: ``max`` or ``mean``, see above.
        spacing: voxel side along each axis, such as mm; the gradient is per this unit. Default 1.

    Returns:
        ``(index, count, mask, score)``: int32 ``[R, W]``, the numbers of the active tiles in ascending order (raster
        order over batch and grid), then -1; int32 ``[R]``, how many of each row are valid; bool
        ``[R, B, *grids[-1]]``; the scores ``[B, sum of blocks]``, round after round in raster order, -inf outside the
        image. W = B times the tiles that the largest ``keep`` covers.

    Raises:
        ValueError: for shapes, grids or options that do not fit.
        TypeError: for a dtype that is not floating.

    Example:
        One round of four blocks; the image varies in the last one:

        >>> import torch
        >>> from medseg.ops import quadtree_plan
        >>> x = torch.zeros(1, 1, 4, 4)
        >>> x[..., 3, 3] = 9
        >>> index, count, mask, score = quadtree_plan(x, grids=[(2, 2)], keep=(1,))
        >>> index.tolist(), mask.tolist()
        ([[3]], [[[[False, False], [False, True]]]])
    """
    check_floating("quadtree_plan", x=x)
    if x.ndim not in (4, 5) or 0 in x.shape[1:]:
        raise ValueError(
            f"quadtree_plan: x has shape {shape_text(x)}; expected [B, C, H, W] or [B, C, D, H, W], none empty"
        )
    if metric not in METRICS:
        raise ValueError(f"quadtree_plan: metric is {metric!r}; expected one of {', '.join(METRICS)}")
    if reduce not in REDUCTIONS:
        raise ValueError(f"quadtree_plan: reduce is {reduce!r}; expected one of {', '.join(REDUCTIONS)}")
    steps = [1.0] * (x.ndim - 2) if spacing is None else [float(s) for s in spacing]
    if len(steps) != x.ndim - 2 or not all(s > 0 and math.isfinite(s) for s in steps):
        raise ValueError(f"quadtree_plan: spacing is {steps}; expected {x.ndim - 2} positive numbers")
    check_rounds("quadtree_plan", x.ndim - 2, grids, keep, limit)
    if x.dtype != torch.float64:
        x = x.float()
    code = VARIATIONS[metric, reduce]
    return torch.ops.medseg.quadtree_plan(x.detach(), _flat(grids), list(keep), list(limit), code, steps)


def quadtree_select(
    score: Tensor, size: Sequence[int], grids: Grids, keep: Sequence[int], limit: Sequence[float] = ()
) -> tuple[Tensor, Tensor, Tensor]:
    """Selects blocks by given scores: the second half of `quadtree_plan`.

    Args:
        score: ``[B, sum of blocks]``, round after round in raster order; higher is kept first. Scores of blocks
            outside the image are ignored.
        size: spatial size of the image in voxels.
        grids: blocks along each axis, one row per round, coarse to fine.
        keep: blocks kept at most in each round, per sample.
        limit: lower limits of the score, one per round (exclusive); empty for none.

    Returns:
        ``(index, count, mask)`` as `quadtree_plan` gives them.

    Raises:
        ValueError: for shapes or grids that do not fit.
        TypeError: for a dtype that is not floating.

    Example:
        >>> import torch
        >>> from medseg.ops import quadtree_select
        >>> index, count, mask = quadtree_select(torch.tensor([[0.1, 0.7, 0.3, 0.2]]), (4, 4), [(2, 2)], keep=(2,))
        >>> index.tolist(), count.tolist()
        ([[1, 2]], [2])
    """
    check_floating("quadtree_select", score=score)
    check_rounds("quadtree_select", len(size), grids, keep, limit)
    blocks = sum(math.prod(g) for g in grids)
    if score.ndim != 2 or score.shape[1] != blocks:
        raise ValueError(f"quadtree_select: score has shape {shape_text(score)}; expected [B, {blocks}] for {grids}")
    if score.dtype != torch.float64:
        score = score.float()
    return torch.ops.medseg.quadtree_select(score.detach(), list(size), _flat(grids), list(keep), list(limit))


def check_rounds(op: str, dims: int, grids: Grids, keep: Sequence[int], limit: Sequence[float]) -> None:
    """Raises ValueError unless grids are nested and every round has its ``keep`` (and limit)."""
    if not 1 <= len(grids) <= MAX_ROUNDS:
        raise ValueError(f"{op}: {len(grids)} rounds; expected 1 to {MAX_ROUNDS}")
    for coarse, fine in zip([grids[0], *grids], grids, strict=False):
        if len(fine) != dims or any(f < 1 or f % c for c, f in zip(coarse, fine, strict=True)):
            raise ValueError(
                f"{op}: grids are {[list(g) for g in grids]}; expected {dims} axes, each a multiple of the round before"
            )
    if len(keep) != len(grids) or any(k < 0 for k in keep):
        raise ValueError(f"{op}: keep is {list(keep)}; expected {len(grids)} numbers, none negative")
    if len(limit) not in (0, len(grids)):
        raise ValueError(f"{op}: limit is {list(limit)}; expected {len(grids)} numbers or none")


def _flat(grids: Grids) -> list[int]:
    return [n for grid in grids for n in grid]


def _reference_plan(
    x: Tensor, grids: list[int], keep: list[int], limit: list[float], metric: int, spacing: list[float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    name, reduce = next(key for key, code in VARIATIONS.items() if code == metric)
    levels = split_levels(grids, x.ndim - 2)
    score = reference_scores(x, levels, name, reduce, spacing)
    return (*reference_select(score, x.shape[2:], levels, keep, limit), score)


def _reference_selection(
    score: Tensor, size: list[int], grids: list[int], keep: list[int], limit: list[float]
) -> tuple[Tensor, Tensor, Tensor]:
    return reference_select(score, size, split_levels(grids, len(size)), keep, limit)


def _shape(like: Tensor, levels: list[tuple[int, ...]], keep: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    batch, rounds = like.shape[0], len(levels)
    return (
        like.new_empty((rounds, list_width(batch, levels, keep)), dtype=torch.int32),
        like.new_empty(rounds, dtype=torch.int32),
        like.new_empty((rounds, batch, *levels[-1]), dtype=torch.bool),
    )


def _plan_shape(
    x: Tensor, grids: list[int], keep: list[int], limit: list[float], metric: int, spacing: list[float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    levels = split_levels(grids, x.ndim - 2)
    return (*_shape(x, levels, keep), x.new_empty(x.shape[0], sum(math.prod(g) for g in levels)))


def _select_shape(
    score: Tensor, size: list[int], grids: list[int], keep: list[int], limit: list[float]
) -> tuple[Tensor, Tensor, Tensor]:
    return _shape(score, split_levels(grids, len(size)), keep)


register_op(
    "quadtree_plan(Tensor x, int[] grids, int[] keep, float[] limit, int metric, float[] spacing) -> "
    "(Tensor index, Tensor count, Tensor mask, Tensor score)",
    _reference_plan,
)
register_op(
    "quadtree_select(Tensor score, int[] size, int[] grids, int[] keep, float[] limit) -> "
    "(Tensor index, Tensor count, Tensor mask)",
    _reference_selection,
)
torch.library.register_fake("medseg::quadtree_plan", _plan_shape)
torch.library.register_fake("medseg::quadtree_select", _select_shape)

__all__ = [
    "MAX_ROUNDS",
    "METRICS",
    "REDUCTIONS",
    "active_lists",
    "blocks_inside",
    "expand_grid",
    "inside_mask",
    "list_width",
    "pool_blocks",
    "quadtree_plan",
    "quadtree_select",
    "tile_sides",
]
