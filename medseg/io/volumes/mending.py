"""What mends a label that does not fit its image, for the messages that refuse it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from medseg.geometry import Alignment
from medseg.geometry.extent import lattice_shift

__all__ = ["LABEL_ROUNDING", "grid_fix", "is_nearly_whole", "value_fix"]

LABEL_ROUNDING = 1e-3
"""Label values that are no farther from a whole number may be rounded to it."""

_PAIR = "IMAGE LABEL"


def is_nearly_whole(values: ArrayLike) -> bool:
    """True for values that are whole numbers from 0 but for `LABEL_ROUNDING`, as interpolation or scaling leaves them.

    Example:
        >>> from medseg.io.volumes.mending import is_nearly_whole
        >>> is_nearly_whole([0, 0.99999, 2]), is_nearly_whole([0, 0.5]), is_nearly_whole([-1])
        (True, False, False)
    """
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all():
        return False
    whole = np.rint(found)
    return bool(np.abs(found - whole).max(initial=0) <= LABEL_ROUNDING and whole.min(initial=0) >= 0)


def value_fix(values: ArrayLike, pair: str = _PAIR) -> str:
    """What to do with a label whose values are no whole numbers from 0.

    Args:
        values: the values found.
        pair: how the message calls image and label.
    """
    if is_nearly_whole(values):
        return f"{_check(pair, 'round-label')} rounds them, since all lie within {LABEL_ROUNDING:g} of whole numbers"
    return "this looks like no label map; if it was interpolated, make it again with the nearest neighbour"


def grid_fix(
    found: Alignment, affine_ras: ArrayLike, shape: Sequence[int], image_affine_ras: ArrayLike, pair: str = _PAIR
) -> str:
    """What to do with a label that lies on another grid than its image.

    Args:
        found: how the label's grid lies to the image's, neither "same" nor "reordered".
        affine_ras: 4 x 4 of the label, voxel to RAS mm.
        shape: the label's three lengths.
        image_affine_ras: 4 x 4 of the image.
        pair: how the message calls image and label.
    """
    if found.kind == "header_flipped":
        fix = _check(pair, "header-from-image")
        return f"find out which header is right; if the arrays belong together index by index, {fix} corrects the label"
    shift = lattice_shift(affine_ras, shape, image_affine_ras)
    if shift is not None:
        return (
            f"both are parts of one lattice of voxels, the label begins at image voxel {shift}: "
            f"{_check(pair, 'resample-label')} fills it up with 0"
        )
    return f"if both headers are right, {_check(pair, 'resample-label')} takes the nearest voxels"


def _check(pair: str, rule: str) -> str:
    return f"python -m data_prep.check --pair {pair} --fix {rule} --out-data DIR"
