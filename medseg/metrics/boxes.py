"""The smallest box around two masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["union_box"]


def union_box(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box that holds the foreground of two masks of one shape; empty slices if there is none.

    Axis by axis, so that every pass reads less of a whole CT.

    >>> union_box(np.array([0, 1, 0, 0], bool), np.array([0, 0, 1, 0], bool))
    (slice(1, 3, None),)
    """
    result: list[slice] = []
    for axis in range(first.ndim):
        others = tuple(other for other in range(first.ndim) if other != axis)
        used = np.nonzero(first.any(axis=others) | second.any(axis=others))[0]
        part = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
        crop = (slice(None),) * axis + (part,)
        first, second = first[crop], second[crop]
        result.append(part)
    return tuple(result)
