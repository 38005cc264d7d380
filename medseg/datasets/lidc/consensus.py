"""Nodules of one scan: the readers' masks, their agreement and their consensus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.datasets.lidc.masks import annotation_mask
from medseg.datasets.lidc.policy import NodulePolicy
from medseg.datasets.lidc.records import Annotation, Reading
from medseg.geometry import apply_affine, spacing_of, voxel_volume_ml
from medseg.geometry.contours import PatchMask
from medseg.io.bounded.errors import DataError

__all__ = [
    "Nodule",
    "NoduleFault",
    "build_nodules",
    "dice",
    "equivalent_diameter_mm",
    "nodules_and_faults",
    "nodules_on_slices",
    "superior_first",
]


@dataclass(frozen=True, eq=False)
class Nodule:
    """One nodule as several readers saw it.

    Attributes:
        nodule_id: 1-based number within the scan, from superior to inferior.
        start: index ``(i, j, k)`` of the box that holds every reader's mask.
        masks: bool box of every reader who marked the nodule, by reader number.
        consensus: bool box, see ``ConsensusRule``; empty where too few readers agree.
        annotations: the annotations of every reader, by reader number.
        absent_z_mm: z of contours whose slice is missing in the CT; the masks do not contain them.

    >>> import numpy as np
    >>> from medseg.datasets.lidc import Contour
    >>> ring = np.array([[10, 10], [16, 10], [16, 16], [10, 16]])
    >>> drawn = [Annotation(reader, "A", {"malignancy": 4}, (Contour(5.0, ring),)) for reader in (1, 2)]
    >>> reading = Reading("1.2.3", "xml", 4, tuple(drawn))
    >>> (nodule,) = build_nodules(reading, np.diag([0.7, 0.7, 2.5, 1.0]), shape=(64, 64, 8))
    >>> nodule.box(), nodule.pairwise_dice()
    ((slice(10, 17, None), slice(10, 17, None), slice(2, 3, None)), {(1, 2): 1.0})
    """

    nodule_id: int
    start: tuple[int, int, int]
    masks: Mapping[int, NDArray[np.bool_]]
    consensus: NDArray[np.bool_]
    annotations: Mapping[int, tuple[Annotation, ...]]
    absent_z_mm: tuple[float, ...]

    def box(self) -> tuple[slice, slice, slice]:
        """The nodule's place in the CT array."""
        i, j, k = (slice(a, a + n) for a, n in zip(self.start, self.consensus.shape, strict=True))
        return i, j, k

    def centroid_ras(self, reader: int, affine_ras: ArrayLike) -> NDArray[np.float64]:
        """Centre of mass of a reader's mask, RAS mm; of the outline points where the mask is empty."""
        voxels = np.argwhere(self.masks[reader])
        if len(voxels):
            return apply_affine(affine_ras, voxels.mean(axis=0) + self.start)
        contours = [contour for item in self.annotations[reader] for contour in item.contours]
        pixels = np.concatenate([contour.points for contour in contours]).mean(axis=0)
        centre = apply_affine(affine_ras, [pixels[0], pixels[1], 0.0])
        centre[2] = np.mean([contour.z_mm for contour in contours])
        return centre

    def pairwise_dice(self) -> dict[tuple[int, int], float]:
        """Dice coefficient of every pair of readers."""
        return {(a, b): dice(self.masks[a], self.masks[b]) for a, b in combinations(sorted(self.masks), 2)}


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks of one shape, 0 to 1; 1 if both are empty.

    >>> import numpy as np
    >>> round(dice(np.array([True, True, False]), np.array([True, False, False])), 3)
    0.667
    """
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


def equivalent_diameter_mm(voxels: int, affine_ras: ArrayLike) -> float:
    """Diameter of the sphere with the volume of a number of voxels, mm."""
    return float(np.cbrt(6.0 * voxels * voxel_volume_ml(affine_ras) * 1000.0 / np.pi))


def build_nodules(
    reading: Reading,
    affine_ras: ArrayLike,
    shape: Sequence[int],
    policy: NodulePolicy | None = None,
    slice_thickness_mm: float | None = None,
) -> list[Nodule]:
    """All outlined nodules of a reading on a CT grid.

    A reader with several annotations in one nodule contributes their union. Where the source does not name readers
    (database), the annotations of a nodule are numbered 1, 2, ... in their order: such a number identifies a reader
    only within this nodule.

    Args:
        reading: what the readers drew.
        affine_ras: affine of the CT array ``[column, row, slice]``.
        shape: shape of the CT array.
        policy: how annotations are grouped, filled and joined; None takes the defaults of ``NodulePolicy``.
        slice_thickness_mm: as recorded in the DICOM header; only the grouping "pylidc" uses it. None takes the
            reading's own.

    Returns:
        Nodules numbered from superior to inferior (ties: by row, then column). Nodules without any slice in the CT are
        left out.

    Raises:
        DataError: if an outline leaves the image, or the grouping needs a thickness that is unknown.

    >>> import numpy as np
    >>> from medseg.datasets.lidc import Contour
    >>> ring = np.array([[10, 10], [16, 10], [16, 16], [10, 16]])
    >>> drawn = [Annotation(reader, "A", {"malignancy": 4}, (Contour(5.0, ring),)) for reader in (1, 2)]
    >>> reading = Reading("1.2.3", "xml", 4, tuple(drawn))
    >>> (nodule,) = build_nodules(reading, np.diag([0.7, 0.7, 2.5, 1.0]), shape=(64, 64, 8))
    >>> int(nodule.consensus.sum())  # the outline's own pixels are not part of the nodule
    25
    """
    slice_z = apply_affine(affine_ras, np.array([[0, 0, k] for k in range(shape[2])]))[:, 2]
    dx, dy, _ = spacing_of(affine_ras)
    spacing = (float(dx), float(dy))
    return nodules_on_slices(reading, slice_z, spacing, (shape[0], shape[1]), policy, slice_thickness_mm)


def nodules_on_slices(
    reading: Reading,
    slice_z_mm: ArrayLike,
    pixel_spacing_mm: tuple[float, float],
    size_xy: tuple[int, int],
    policy: NodulePolicy | None = None,
    slice_thickness_mm: float | None = None,
) -> list[Nodule]:
    """All outlined nodules of a reading on axial slices at given positions; no CT is needed.

    Args:
        reading: what the readers drew.
        slice_z_mm: z of every slice k, mm; the distances may vary.
        pixel_spacing_mm: distance between columns (x) and between rows (y).
        size_xy: number of columns and rows.
        policy: see ``build_nodules``.
        slice_thickness_mm: see ``build_nodules``.

    Returns:
        As ``build_nodules``.

    >>> import numpy as np
    >>> from medseg.datasets.lidc import Contour
    >>> ring = np.array([[10, 10], [16, 10], [16, 16], [10, 16]])
    >>> drawn = [Annotation(reader, "A", {"malignancy": 4}, (Contour(5.0, ring),)) for reader in (1, 2)]
    >>> reading = Reading("1.2.3", "xml", 4, tuple(drawn))
    >>> nodules = nodules_on_slices(reading, [0.0, 2.5, 5.0], pixel_spacing_mm=(0.7, 0.7), size_xy=(64, 64))
    >>> [nodule.nodule_id for nodule in nodules]
    [1]
    """
    nodules, faults = nodules_and_faults(reading, slice_z_mm, pixel_spacing_mm, size_xy, policy, slice_thickness_mm)
    if faults:
        raise DataError(faults[0].reason)
    return nodules


class NoduleFault(NamedTuple):
    """A nodule that cannot be built.

    Attributes:
        nodule_id: its number within the scan; 0 if it is unknown which nodule is meant.
        names: the readers' own names for it.
        reason: why, in one line.
        annotations: number of sound annotations in it.
    """

    nodule_id: int
    names: tuple[str, ...]
    reason: str
    annotations: int = 0


def nodules_and_faults(
    reading: Reading,
    slice_z_mm: ArrayLike,
    pixel_spacing_mm: tuple[float, float],
    size_xy: tuple[int, int],
    policy: NodulePolicy | None = None,
    slice_thickness_mm: float | None = None,
) -> tuple[list[Nodule], list[NoduleFault]]:
    """The nodules that can be built, and for every other one the reason; see `nodules_on_slices` for the arguments.

    A nodule to which a damaged mark belongs is not built: without this reader its consensus would be another. Both
    kinds are numbered together.

    Raises:
        DataError: if the grouping needs a thickness that is unknown.
    """
    policy = policy or NodulePolicy()
    thickness = reading.slice_thickness_mm if slice_thickness_mm is None else slice_thickness_mm
    # Slice indices of the complete series, if known: a partial CT must not change which annotations are neighbours.
    positions = reading.slice_z_mm or [float(z) for z in np.asarray(slice_z_mm)]
    drawn = [mark for mark in reading.damaged if mark.contours]
    annotations = [*reading.annotations, *(Annotation(m.reader, m.nodule_id, {}, m.contours) for m in drawn)]
    first_damaged = len(reading.annotations)
    found: list[tuple[tuple[float, float, float], Nodule | NoduleFault]] = []
    for group in policy.groups(annotations, pixel_spacing_mm, positions, thickness):
        members = [annotations[i] for i in group]
        damaged = [drawn[i - first_damaged].reason for i in group if i >= first_damaged]
        nodule = _nodule_or_fault(members, damaged, slice_z_mm, size_xy, policy)
        if isinstance(nodule, Nodule):
            members = list(chain.from_iterable(nodule.annotations.values()))
        if nodule is not None:
            found.append((superior_first(members), nodule))
    found.sort(key=lambda pair: pair[0])
    nodules: list[Nodule] = []
    refused: list[NoduleFault] = []
    for number, (_, item) in enumerate(found, start=1):
        if isinstance(item, Nodule):
            nodules.append(replace(item, nodule_id=number))
        else:
            refused.append(item._replace(nodule_id=number))
    lost = [NoduleFault(0, (m.nodule_id,), m.reason) for m in reading.damaged if not m.contours]
    return nodules, refused + lost


def _nodule_or_fault(
    members: Sequence[Annotation],
    damaged: Sequence[str],
    slice_z_mm: ArrayLike,
    size_xy: tuple[int, int],
    policy: NodulePolicy,
) -> Nodule | NoduleFault | None:
    names = tuple(dict.fromkeys(item.nodule_id for item in members))
    if damaged:
        return NoduleFault(0, names, damaged[0], len(members) - len(damaged))
    try:
        return _join(members, slice_z_mm, size_xy, policy)
    except DataError as error:
        return NoduleFault(0, names, str(error), len(members))


def _join(
    annotations: Sequence[Annotation], slice_z_mm: ArrayLike, size_xy: tuple[int, int], policy: NodulePolicy
) -> Nodule | None:
    """One nodule of a group; None if none of its outlines lies on a slice."""
    members: dict[int, list[Annotation]] = {}
    for number, annotation in enumerate(annotations, start=1):
        members.setdefault(annotation.reader or number, []).append(annotation)
    parts = {
        reader: [annotation_mask(item, slice_z_mm, size_xy, policy.border) for item in items]
        for reader, items in sorted(members.items())
    }
    absent = tuple(sorted({z for masks in parts.values() for mask in masks for z in mask.absent_z_mm}))
    patches = {reader: [m.patch for m in masks if m.patch.mask.size] for reader, masks in parts.items()}
    if not any(patches.values()):
        return None
    start, masks = _common_box(patches)
    by_reader = {reader: tuple(items) for reader, items in sorted(members.items())}
    return Nodule(0, start, masks, policy.consensus.mask(list(masks.values())), by_reader, absent)


def _common_box(
    patches: Mapping[int, Sequence[PatchMask]],
) -> tuple[tuple[int, int, int], dict[int, NDArray[np.bool_]]]:
    boxes = [patch for group in patches.values() for patch in group]
    low = np.min([patch.start for patch in boxes], axis=0)
    high = np.max([np.add(patch.start, patch.mask.shape) for patch in boxes], axis=0)
    masks = {}
    for reader, group in patches.items():
        mask = np.zeros(high - low, dtype=bool)
        for patch in group:
            place = tuple(slice(a, a + n) for a, n in zip(np.subtract(patch.start, low), patch.mask.shape, strict=True))
            mask[place] |= patch.mask
        masks[reader] = mask
    return (int(low[0]), int(low[1]), int(low[2])), masks


def superior_first(annotations: Iterable[Annotation]) -> tuple[float, float, float]:
    """Sort key of a nodule by its outlines: superior before inferior, then by row and column."""
    contours = [contour for item in annotations for contour in item.contours]
    points = np.concatenate([contour.points for contour in contours])
    z = float(np.mean([contour.z_mm for contour in contours]))
    return -z, float(points[:, 1].mean()), float(points[:, 0].mean())
