"""Health of a learned selection of patches: is it varied, does it follow the image, does the target survive?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from medseg.layers.sparse_downsample import PatchIndex, Selection
from medseg.ops import patch_gather

__all__ = ["SelectionHealth", "distinct_share", "moved_share", "rank_correlation", "selection_health", "target_cover"]


class SelectionHealth(NamedTuple):
    """Figures of one layer; NaN where one cannot be computed."""

    distinct: float
    """Share of slots whose patch no earlier slot shows: 1 for unique patches."""
    moved: float
    """Share of the chosen patches that the next image of the batch does not choose: 0 means that no image matters."""
    rank_correlation: float
    """Spearman correlation of the scores with the mean absolute value of the patches: 1 is the norm pick."""
    cover: float
    """Share of the target's voxels at the layer that its selection keeps; mean over images with a target."""


def distinct_share(index: Tensor) -> float:
    """Share of different patches among the slots of an image: ``index [B, M]``."""
    ordered = index.sort(dim=1).values
    return (1 + (ordered[:, 1:] != ordered[:, :-1]).sum(1)).float().mean().item() / index.shape[1]


def moved_share(index: Tensor) -> float:
    """Share of an image's patches that the next image does not choose, mean over neighbours in ``index [B, M]``."""
    if index.shape[0] < 2:
        return math.nan
    kept = (index[:-1, :, None] == index[1:, None, :]).any(2)
    return 1 - kept.float().mean().item()


def rank_correlation(scores: Tensor, norms: Tensor) -> float:
    """Spearman correlation of two ``[B, N]`` tensors along N, mean over images; NaN for constant rows only."""
    ranks = [t.argsort(dim=1).argsort(dim=1).double() for t in (scores, norms)]
    centred = [r - r.mean(1, keepdim=True) for r in ranks]
    spread = [(t.amax(1) > t.amin(1)) for t in (scores, norms)]
    scale = (centred[0].square().sum(1) * centred[1].square().sum(1)).sqrt()
    value = (centred[0] * centred[1]).sum(1) / scale
    return value[spread[0] & spread[1]].mean().item()


def _routed(mask: Tensor, place: PatchIndex) -> tuple[Tensor, Tensor]:
    """The mask as it reaches a layer, and what its selection keeps of it."""
    if any(m % s for m, s in zip(mask.shape[2:], place.size, strict=True)):
        raise ValueError(
            f"target_cover: a mask of size {list(mask.shape[2:])} meets a layer whose map is {list(place.size)}; "
            "expected a whole multiple on every axis"
        )
    ratio = [m // s for m, s in zip(mask.shape[2:], place.size, strict=True)]
    if max(ratio) > 1:
        mask = (F.max_pool2d if mask.ndim == 4 else F.max_pool3d)(mask, ratio)
    step = 2 * place.patch
    missing = [v for s in reversed(place.size) for v in (0, -s % step)]
    padded = F.pad(mask, missing)
    grid = [s // step for s in padded.shape[2:]]
    return mask, patch_gather(padded.contiguous(), place.index, place.patch, grid)


def target_cover(mask: Tensor, places: Sequence[PatchIndex]) -> tuple[list[float], Tensor]:
    """Follows a target through the selections of a network.

    Between two selections the mask is max-pooled to the size of the next map, as halvings in between would do.

    Args:
        mask: ``[B, 1, *S]``, above 0.5 on the target, at the network's input size.
        places: what the layers chose, in the order in which the image meets them.

    Returns:
        For each layer the share of the target's voxels that reached it and that it keeps (mean over images where some
        did; NaN if none did); and bool ``[B]``, whether any voxel of the target survives all of them.

    Raises:
        ValueError: if a map's size is no whole fraction of the mask's.
    """
    left = (mask > 0.5).float()
    shares = []
    for place in places:
        before, left = _routed(left, place)
        total = before.flatten(1).sum(1)
        share = left.flatten(1).sum(1) / total.clamp(min=1)
        shares.append(share[total > 0].mean().item())
    return shares, left.flatten(1).amax(1) > 0


def selection_health(selections: Mapping[str, Selection], mask: Tensor | None = None) -> dict[str, SelectionHealth]:
    """Figures of every layer for one batch.

    Args:
        selections: name to `Selection`, in the order in which the image meets the layers.
        mask: ``[B, 1, *S]`` of the target at input size, or None.

    Returns:
        Name to figures.

    Raises:
        ValueError: if the mask does not fit a map.
    """
    places = [s.place for s in selections.values()]
    covers = [math.nan] * len(places) if mask is None else target_cover(mask.to(places[0].index.device), places)[0]
    return {
        name: SelectionHealth(
            distinct_share(s.place.index),
            moved_share(s.place.index),
            math.nan if s.scores is None else rank_correlation(s.scores, s.norms),
            cover,
        )
        for (name, s), cover in zip(selections.items(), covers, strict=True)
    }
