"""Synthetic series with masks on their grid, and what a raw DICOM file says of where its voxels lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset

from medseg.datasets.phantom.ct_writer import write_ct_series
from medseg.geometry import Affine, apply_affine, make_affine
from medseg.geometry.regrid import Reordering
from medseg.io.results.source import SourceSeries, read_source

SHAPE = (9, 7, 5)
SPACING = (0.7, 0.8, 2.5)
# A turn by 20, -35 and 50 degrees about the three axes: no voxel axis is close to a world axis.
TILTS = {"straight": (0.0, 0.0, 0.0), "oblique": (20.0, -35.0, 50.0)}


class Example(NamedTuple):
    """A source series on disk and a label map of 1 and 2 on its own grid."""

    folder: Path
    source: SourceSeries
    labels: NDArray[np.uint8]
    affine_ras: Affine


def blocks(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.uint8]:
    """An asymmetric label map: a block of 1 with a hole, and one of 2 that touches it; the outer slices are empty."""
    labels = np.zeros(shape, dtype=np.uint8)
    labels[1:6, 1:5, 1:3] = 1
    labels[3, 2, 1:3] = 0
    labels[6:8, 4:6, 2:4] = 2
    return labels


def make_example(folder: Path, affine_ras: Affine | None = None, labels: NDArray[np.uint8] | None = None) -> Example:
    """Write a series of noise with an affine of any orientation and read its headers back."""
    labels = blocks() if labels is None else labels
    affine = make_affine(SPACING, (-31.0, 12.5, 140.0), "LPS") if affine_ras is None else affine_ras
    image = np.random.default_rng(0).integers(-1000, 1000, labels.shape).astype(np.int16)
    write_ct_series(folder, image, affine, patient_id="P-7", series_description="noise", patient_name="Synthetic^Sam")
    return Example(folder, read_source(folder), labels, affine)


def store_otherwise(
    labels: NDArray[np.uint8], affine: Affine, axes: tuple[int, ...], flips: tuple[bool, ...]
) -> tuple[NDArray[np.uint8], Affine]:
    """The same mask with its axes permuted and reversed, array and affine."""
    order = Reordering((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]), 0.0)
    return order.apply(labels), order.affine(affine, labels.shape)


def centroid_ras(mask: NDArray[np.bool_], affine: Affine) -> NDArray[np.float64]:
    """Mean position of a mask's voxels in RAS mm."""
    return apply_affine(affine, np.argwhere(mask)).mean(axis=0)


def frame_centroid_lps(path: Path, segment: int) -> NDArray[np.float64]:
    """Mean position of a segment's voxels in LPS mm by the definition of the frames' own attributes alone."""
    data = pydicom.dcmread(path)
    frames = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    shared = data.SharedFunctionalGroupsSequence[0]
    row_direction, column_direction = np.array(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, float
    ).reshape(2, 3)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    points = []
    for frame, item in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        group = item if "SegmentIdentificationSequence" in item else shared
        if int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber) != segment:
            continue
        origin = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(frame):
            points.append(origin + column * between_columns * row_direction + row * between_rows * column_direction)
    return np.mean(points, axis=0)


def rotation(degrees: tuple[float, ...]) -> NDArray[np.float64]:
    """Turns about the three axes, one after the other."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        first, second = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turned = step @ turned
    return turned


def series_affine(axes: tuple[int, ...], flips: tuple[bool, ...], tilt: str = "straight") -> Affine:
    """Array axis n runs along (or, flipped, against) the turned world axis ``axes[n]``."""
    signs = np.where(flips, -1.0, 1.0)
    direction = rotation(TILTS[tilt]) @ (np.eye(3)[:, list(axes)] * signs)
    return make_affine(SPACING, (-31.0, 12.5, 140.0), direction)


def changed(path: Path, change: Callable[[Dataset], None]) -> Path:
    """A copy of a DICOM file beside it, changed by a function."""
    data = pydicom.dcmread(path)
    change(data)
    target = path.with_name("changed.dcm")
    data.save_as(target)
    return target
