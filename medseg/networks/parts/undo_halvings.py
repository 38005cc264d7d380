"""Brings a coarse map back to a finer level where every position is a place in the image again."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from medseg.layers import PatchIndex, SparseUpsample

__all__ = ["undo_halvings"]


def undo_halvings(x: Tensor, places: Sequence[PatchIndex | None], size: Sequence[int], fill: str = "zeros") -> Tensor:
    """Interpolates linearly to a size; on the way, patches that sparse halvings moved go back where they were.

    Args:
        x: ``[B, C, *S]``, the result of the last of the halvings.
        places: what the halvings in between returned, in the order in which they ran.
        size: spatial size before the first of them.
        fill: what stands where no patch was kept, see `SparseUpsample`.

    Returns:
        ``[B, C, *size]``.
    """
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    for i in reversed(range(len(places))):
        place = places[i]
        if place is None:
            continue
        made = [-(-s // (2 * place.patch)) * place.patch for s in place.size]
        if list(x.shape[2:]) != made:
            x = F.interpolate(x, size=made, mode=mode, align_corners=False)
        x = SparseUpsample(x.ndim - 2, fill)(x, place)
    if list(x.shape[2:]) != list(size):
        x = F.interpolate(x, size=list(size), mode=mode, align_corners=False)
    return x
