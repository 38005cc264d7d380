"""Cubes of fixed size in millimetres around nodules, cut from a CT and its masks, for classification."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import affine_transform

from medseg.datasets.lidc.consensus import Nodule
from medseg.geometry import Affine, apply_affine, direction_of, spacing_of, world_to_voxel

__all__ = ["AIR_HU", "VolumeCrop", "crop_nodule_mask", "crop_volume", "nodule_centre_ras"]

AIR_HU = -1024
"""Value of voxels that lie outside the CT."""


class VolumeCrop(NamedTuple):
    """A cube cut out of a volume.

    Attributes:
        array: cube of voxels along the volume's own axes, of the volume's type.
        affine_ras: 4 x 4, voxel of the cube to RAS mm.
        outside_fraction: share of its voxels that lie outside the volume, 0 to 1.
    """

    array: NDArray[np.generic]
    affine_ras: Affine
    outside_fraction: float


def crop_volume(
    array: NDArray[np.generic],
    affine_ras: ArrayLike,
    centre_ras: ArrayLike,
    side_mm: float,
    spacing_mm: float = 1.0,
    outside: float = AIR_HU,
    nearest: bool = False,
) -> VolumeCrop:
    """Cut a cube of isotropic voxels around a point.

    The cube has ``round(side_mm / spacing_mm)`` voxels along every axis and its middle is the point itself, not the
    nearest voxel. Values are sampled without smoothing: a spacing coarser than the volume's own causes aliasing.

    Args:
        array: volume ``[i, j, k]``.
        affine_ras: 4 x 4, its voxels to RAS mm.
        centre_ras: middle of the cube, RAS mm.
        side_mm: side of the cube.
        spacing_mm: spacing of its voxels.
        outside: value of voxels whose centre lies outside the volume's outermost voxel centres.
        nearest: take the nearest voxel (masks) instead of linear interpolation (CT; whole numbers are rounded).

    Raises:
        ValueError: for sizes that are not positive, or a cube of less than one voxel.

    >>> volume = np.full((40, 40, 20), -800, np.int16)
    >>> crop = crop_volume(volume, np.diag([0.7, 0.7, 2.5, 1.0]), centre_ras=(14.0, 14.0, 25.0), side_mm=16.0)
    >>> crop.array.shape, crop.outside_fraction
    ((16, 16, 16), 0.0)
    """
    if not (spacing_mm > 0 and side_mm >= spacing_mm):
        raise ValueError(f"side_mm is {side_mm}, spacing_mm {spacing_mm}; expected 0 < spacing_mm <= side_mm")
    size = round(side_mm / spacing_mm)
    affine = np.eye(4)
    affine[:3, :3] = direction_of(affine_ras) * spacing_mm
    affine[:3, 3] = np.asarray(centre_ras, np.float64) - affine[:3, :3] @ np.full(3, (size - 1) / 2)
    steps = spacing_mm / spacing_of(affine_ras)
    first = world_to_voxel(affine[:3, 3], affine_ras, "RAS")
    values = affine_transform(
        array.astype(np.float32, copy=False) if array.dtype == bool else array,
        steps,
        first,
        output_shape=(size, size, size),
        output=np.float32,
        order=0 if nearest else 1,
        cval=outside,
        prefilter=False,
    )
    cube = np.rint(values).astype(array.dtype) if array.dtype.kind in "iub" else values.astype(array.dtype)
    inside = [_inside(start, step, size, n) for start, step, n in zip(first, steps, array.shape, strict=True)]
    return VolumeCrop(cube, affine, 1.0 - float(np.prod([axis.mean() for axis in inside])))


def _inside(start: float, step: float, size: int, length: int) -> NDArray[np.bool_]:
    places = start + step * np.arange(size)
    return np.asarray((places >= 0) & (places <= length - 1))


def crop_nodule_mask(
    nodule: Nodule, affine_ras: ArrayLike, centre_ras: ArrayLike, side_mm: float, spacing_mm: float = 1.0
) -> VolumeCrop:
    """A nodule's consensus as a cube on the same grid as ``crop_volume`` gives for the CT.

    Args:
        nodule: on the grid of ``affine_ras``.
        affine_ras: 4 x 4, voxels of the CT to RAS mm.
        centre_ras: middle of the cube, RAS mm.
        side_mm: side of the cube.
        spacing_mm: spacing of its voxels.

    Returns:
        uint8 cube of 0 and 1; ``outside_fraction`` has no meaning for the small box and is 0.

    >>> import numpy as np
    >>> from medseg.datasets.lidc import Annotation, Contour, Reading, build_nodules
    >>> ring = np.array([[10, 10], [16, 10], [16, 16], [10, 16]])
    >>> drawn = [Annotation(reader, "A", {"malignancy": 4}, (Contour(5.0, ring),)) for reader in (1, 2)]
    >>> reading = Reading("1.2.3", "xml", 4, tuple(drawn))
    >>> affine = np.diag([0.7, 0.7, 2.5, 1.0])
    >>> (nodule,) = build_nodules(reading, affine, shape=(64, 64, 8))
    >>> crop = crop_nodule_mask(nodule, affine, centre_ras=nodule.centroid_ras(1, affine), side_mm=16.0)
    >>> crop.array.shape, int(crop.array.max())
    ((16, 16, 16), 1)
    """
    # One voxel of background on every side: the outermost voxels reach half a voxel beyond their centres.
    box = np.pad(nodule.consensus, 1).astype(np.uint8)
    affine = np.array(affine_ras, np.float64)
    affine[:3, 3] = apply_affine(affine_ras, np.asarray(nodule.start, np.float64) - 1.0)
    crop = crop_volume(box, affine, centre_ras, side_mm, spacing_mm, outside=0, nearest=True)
    return crop._replace(outside_fraction=0.0)


def nodule_centre_ras(nodule: Nodule, affine_ras: ArrayLike) -> NDArray[np.float64]:
    """Mean of the readers' mask centroids, RAS mm."""
    return np.asarray(np.mean([nodule.centroid_ras(reader, affine_ras) for reader in nodule.masks], axis=0))
