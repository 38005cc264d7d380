"""Tumours of one label map as connected parts; those of one voxel and those outside the liver are listed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from medseg.geometry import apply_affine, voxel_volume_ml

__all__ = ["LIVER", "TUMOUR", "TumourCount", "count_tumours"]

LIVER, TUMOUR = 1, 2
_ROUNDING = 1e-9
_FACES_AND_EDGES = ndimage.generate_binary_structure(3, 2)  # 18 neighbours


class TumourCount(NamedTuple):
    """Connected tumours (18 neighbours) of one case.

    Attributes:
        volumes_ml: volume of every tumour, largest first.
        at_least_minimum: number of tumours of at least the minimum volume.
        minimum_ml: that volume.
        one_voxel_ras_mm: positions of the tumours of a single voxel, RAS mm.
        off_liver_ras_mm: centroids of the tumours that touch no liver voxel, RAS mm.
        off_liver_voxels: number of voxels of these.

    >>> import numpy as np
    >>> label = np.zeros((10, 10, 10), np.uint8)
    >>> label[2:8, 2:8, 2:8] = 1
    >>> label[4:6, 4:6, 4:6] = 2
    >>> count_tumours(label, np.eye(4)).to_record()["number"]
    1
    """

    volumes_ml: tuple[float, ...]
    at_least_minimum: int
    minimum_ml: float
    one_voxel_ras_mm: tuple[tuple[float, float, float], ...]
    off_liver_ras_mm: tuple[tuple[float, float, float], ...]
    off_liver_voxels: int

    @property
    def number(self) -> int:
        """Number of tumours, whatever their size."""
        return len(self.volumes_ml)

    def to_record(self) -> dict[str, Any]:
        """The count as plain JSON values; it holds the number of all tumours and of those of the minimum size."""
        return {
            "number": self.number,
            f"number_of_at_least_{self.minimum_ml:g}_ml": self.at_least_minimum,
            "connectivity": "18 neighbours",
            "volumes_ml": [round(volume, 6) for volume in self.volumes_ml],
            "one_voxel_ras_mm": [list(point) for point in self.one_voxel_ras_mm],
            "off_liver_ras_mm": [list(point) for point in self.off_liver_ras_mm],
            "off_liver_voxels": self.off_liver_voxels,
        }


def count_tumours(label: NDArray[Any], affine_ras: ArrayLike, minimum_ml: float = 0.05) -> TumourCount:
    """Count the tumours of a label map of 0 background, 1 liver, 2 tumour. The label is not changed.

    Args:
        label: ``[i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.
        minimum_ml: least volume of the tumours that are also counted separately.

    Raises:
        ValueError: for a negative or infinite minimum.

    >>> import numpy as np
    >>> label = np.zeros((10, 10, 10), np.uint8)
    >>> label[2:8, 2:8, 2:8] = 1
    >>> label[4:6, 4:6, 4:6] = 2
    >>> round(count_tumours(label, np.diag([5.0, 5.0, 5.0, 1.0])).volumes_ml[0], 3)
    1.0
    """
    if not (np.isfinite(minimum_ml) and minimum_ml >= 0):
        raise ValueError(f"minimum_ml is {minimum_ml}, expected a volume from 0")
    tumour = np.asarray(label) == TUMOUR
    if not tumour.any():
        return TumourCount((), 0, minimum_ml, (), (), 0)
    box, start = _box_with_margin(tumour)
    parts, count = ndimage.label(tumour[box], _FACES_AND_EDGES)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    beside_liver = ndimage.binary_dilation(np.asarray(label)[box] == LIVER, _FACES_AND_EDGES)
    off = np.setdiff1d(np.arange(1, count + 1), parts[beside_liver])
    voxel = voxel_volume_ml(affine_ras)
    centres = np.array(ndimage.center_of_mass(parts > 0, parts, np.arange(1, count + 1))).reshape(-1, 3) + start
    positions = [_point(point) for point in apply_affine(affine_ras, centres)]
    return TumourCount(
        tuple(sorted((float(size * voxel) for size in sizes), reverse=True)),
        int(np.count_nonzero(sizes * voxel >= minimum_ml * (1 - _ROUNDING))),
        minimum_ml,
        tuple(positions[part] for part in np.flatnonzero(sizes == 1)),
        tuple(positions[part - 1] for part in off),
        int(sizes[off - 1].sum()),
    )


def _box_with_margin(mask: NDArray[np.bool_]) -> tuple[tuple[slice, ...], NDArray[np.int64]]:
    """Slices around the mask, one voxel wider, and their first index."""
    filled = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    low = [max(int(index[0]) - 1, 0) for index in filled]
    return tuple(slice(a, int(index[-1]) + 2) for a, index in zip(low, filled, strict=True)), np.array(low)


def _point(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 3) for value in values)
    return x, y, z
