"""Resizes a coarse map to a finer level, where its positions correspond to image coordinates again."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from medseg.layers import PatchIndex, SparseUpsample

__all__ = ["undo_halvings"]


def undo_halvings(x: Tensor, places: Sequence[PatchIndex | None], size: Sequence[int], fill: str = "zeros") -> Tensor:
    """Interpolates linearly to a size, and puts patches that sparse halvings moved back to their original positions.

    Args:
        x: ``[B, C, *S]``, a map after the last of the halvings.
        places: the `PatchIndex` of each halving, or None, in the order in which they ran.
        size: spatial size before the first halving.
        fill: values at positions without a patch, see `SparseUpsample`.

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
