"""Default side of the patches of a sparse downsampling."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["default_patch"]


def default_patch(size: Sequence[int]) -> int:
    """Side of the patches for a map: at most 8 voxels, and at most a quarter of the shortest side.

    There are then at least 4 patches along every axis. The result is 8 for side 64 or 32, 4 for 16, 2 for 8. Every side
    of the map is a multiple of twice the result.

    Args:
        size: spatial size of the map.

    Returns:
        The side of a patch, at least 1.

    Raises:
        ValueError: if a side is odd.

    Example:
        >>> default_patch((64, 64)), default_patch((16, 24)), default_patch((8, 8, 8))
        (8, 4, 2)
    """
    if any(s < 2 or s % 2 for s in size):
        raise ValueError(f"default_patch: spatial size {list(size)}; expected even sides")
    limit = max(1, min(8, min(size) // 4))
    return next(p for p in range(limit, 0, -1) if all(s % (2 * p) == 0 for s in size))
