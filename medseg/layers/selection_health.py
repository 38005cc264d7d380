"""Measures of a learned selection of patches: variety, dependence on the image, and whether the target is kept."""

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
    """Measures of one layer; NaN if a measure cannot be computed."""

    distinct: float
    """Share of slots with a patch that no earlier slot has: 1 for unique patches."""
    moved: float
    """Share of the selected patches that the next image of the batch does not have: 0 if images have no influence."""
    rank_correlation: float
    """Spearman correlation of the scores with the mean absolute value of the patches: 1 if the norm decides."""
    cover: float
    """Share of the target's voxels that reach the layer and are in selected patches; mean over images with a target."""


def distinct_share(index: Tensor) -> float:
    """Number of different patches of an image over the number of slots; ``index [B, M]``."""
    ordered = index.sort(dim=1).values
    return (1 + (ordered[:, 1:] != ordered[:, :-1]).sum(1)).float().mean().item() / index.shape[1]


def moved_share(index: Tensor) -> float:
    """Share of the patches of an image that the next image does not have; mean over the images of ``index [B, M]``."""
    if index.shape[0] < 2:
        return math.nan
    kept = (index[:-1, :, None] == index[1:, None, :]).any(2)
    return 1 - kept.float().mean().item()


def rank_correlation(scores: Tensor, norms: Tensor) -> float:
    """Spearman correlation of two ``[B, N]`` tensors along N, mean over images; NaN if all rows are constant."""
    ranks = [t.argsort(dim=1).argsort(dim=1).double() for t in (scores, norms)]
    centred = [r - r.mean(1, keepdim=True) for r in ranks]
    spread = [(t.amax(1) > t.amin(1)) for t in (scores, norms)]
    scale = (centred[0].square().sum(1) * centred[1].square().sum(1)).sqrt()
    value = (centred[0] * centred[1]).sum(1) / scale
    return value[spread[0] & spread[1]].mean().item()


def _routed(mask: Tensor, place: PatchIndex) -> tuple[Tensor, Tensor]:
    """The mask at the input of a layer, and the part of it that the selection keeps."""
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
    """Follows a target through the selections of the layers of a network.

    Between two selections the mask is max-pooled to the size of the next map.

    Args:
        mask: ``[B, 1, *S]`` with the size of the network's input; above 0.5 in the target.
        places: the patches that the layers selected, in the order in which the layers run.

    Returns:
        For each layer, the share of the target's voxels at its input that it keeps (mean over images in which the
        target reaches the layer; NaN if there is none). And bool ``[B]``, whether a part of the target passes all
        layers.

    Raises:
        ValueError: if the size of the mask is not a multiple of the size of a map.
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
    """Measures of every layer for one batch.

    Args:
        selections: name to `Selection`, in the order in which the layers run.
        mask: ``[B, 1, *S]``, the target with the size of the input, or None.

    Returns:
        Name to measures.

    Raises:
        ValueError: if the size of the mask is not a multiple of the size of a map.
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
