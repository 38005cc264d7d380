"""Positions of the frames of a multi-frame DICOM object, and the regular grid that they form."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, apply_affine, flip_lps_ras, spacing_of
from medseg.geometry.slice_stack import slice_normal
from medseg.io.bounded.dicom_stream import open_dicom
from medseg.io.bounded.errors import DataError, SeriesGeometryError, UnreadableFileError, os_reason
from medseg.io.ct.pixels import MAX_SIDE
from medseg.io.privacy.names import shown, shown_reason

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "FrameGeometry",
    "FrameStack",
    "damage_in_one_line",
    "frame_count",
    "frame_geometry",
    "functional_group",
    "place_frames",
    "read_dicom",
    "stack_frames",
]

MAX_FRAMES = 1_000_000
MAX_PLANES = 20_000
"""Largest number of slices of a grid, in case positions lie far apart."""

_INFLATED_BYTES = 1 << 30
_SAME_MM = 0.01
_STEP_FRACTION = 0.01
_OFF_LINE_MM = 0.05
_DISTANCES = ("SpacingBetweenSlices", "SliceThickness")
_STATED = (
    ("PlanePositionSequence", "ImagePositionPatient"),
    ("PlaneOrientationSequence", "ImageOrientationPatient"),
    *(("PixelMeasuresSequence", key) for key in ("PixelSpacing", *_DISTANCES)),
)
_ORIENTATION_TOLERANCE = 1e-3
_SPACING_TOLERANCE_MM = 1e-4


class FrameGeometry(NamedTuple):
    """The planes of all frames of one object.

    Attributes:
        positions_lps: centre of every frame's first pixel in mm, shape (frames, 3).
        orientation: six direction cosines, LPS, shared by all frames.
        pixel_spacing_mm: distance between rows, then between columns.
        shape: columns and rows.
        slice_spacing_mm: SpacingBetweenSlices, 0 where the header has none.
        thickness_mm: SliceThickness, 0 where the header has none.
        notes: geometry that shared and per-frame groups state differently, one line each.
    """

    positions_lps: NDArray[np.float64]
    orientation: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    slice_spacing_mm: float = 0.0
    thickness_mm: float = 0.0
    notes: tuple[str, ...] = ()

    def plane_affine_ras(self, first_lps: ArrayLike, step_lps: ArrayLike) -> Affine:
        """Affine of ``[column, row, slice]`` from the first slice's position and the step to the next, RAS mm."""
        affine = np.eye(4)
        affine[:3, 0] = self.orientation[:3] * self.pixel_spacing_mm[1]
        affine[:3, 1] = self.orientation[3:] * self.pixel_spacing_mm[0]
        affine[:3, 2], affine[:3, 3] = step_lps, first_lps
        return flip_lps_ras(affine) + 0.0


class FrameStack(NamedTuple):
    """Frames placed on a grid ``[column, row, slice]``.

    Attributes:
        affine_ras: 4 x 4, voxel to RAS mm.
        shape: columns, rows, slices.
        planes: slice index of every frame.
        notes: what had to be assumed and what contradicts the positions, one line each.
    """

    affine_ras: Affine
    shape: tuple[int, int, int]
    planes: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def read_dicom(path: str | Path, *, pixels: bool = True) -> Dataset:
    """Read one DICOM file, or say in one line why not.

    Raises:
        DataError: if there is no such file.
        UnreadableFileError: if it is not a DICOM file, or is cut off.
    """
    import pydicom

    where = Path(path)
    try:
        with warnings.catch_warnings(), open_dicom(where, _INFLATED_BYTES) as opened:
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(opened.stream, stop_before_pixels=not pixels)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # whatever a damaged file makes the parser raise
        if isinstance(error, OSError) and error.errno:
            raise UnreadableFileError(f"{path}: {os_reason(error, advice=True)}") from None
        reason = shown_reason(error)
        raise UnreadableFileError(f"{path}: not a readable DICOM file ({reason}); fetch the file again") from None
    if not opened.complete:
        raise UnreadableFileError(f"{path}: inflates to more than {_INFLATED_BYTES >> 20} MiB, which is refused")
    return data


@contextmanager
def damage_in_one_line(where: object, show_value: bool = True) -> Iterator[None]:
    """Report a damaged header in one line, whatever the parser raises.

    pydicom converts a value when it is first used. A damaged value therefore raises there, with any kind of error.

    Args:
        where: what to name in the error.
        show_value: whether the message of the parser is repeated. It may quote the value, and so name a patient.

    Raises:
        UnreadableFileError: in place of any error except DataError and MemoryError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        reason = f": {shown_reason(error)[:200]}" if show_value else ""
        raise UnreadableFileError(
            f"{where}: the header is damaged ({type(error).__name__}{reason}); fetch the file again"
        ) from error


def functional_group(dataset: Dataset, frame: int, keyword: str) -> Dataset | None:
    """The first item of a functional group of one frame: its own, otherwise the shared one; None if absent."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for item in ([per_frame[frame]] if frame < len(per_frame) else []) + list(shared[:1]):
        sequence = item.get(keyword)
        if sequence:
            return sequence[0]
    return None


def frame_count(dataset: Dataset, where: object) -> int:
    """Number of frames of a multi-frame object.

    Raises:
        DataError: if it is impossible, or another than the number of per-frame items.
    """
    frames = _count(dataset, "NumberOfFrames", MAX_FRAMES, where, default=1)
    listed = len(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if listed != frames:
        raise DataError(f"{where}: {frames} frames, but {listed} items in PerFrameFunctionalGroupsSequence")
    return frames


def frame_geometry(dataset: Dataset, where: object, chosen: Sequence[int] | None = None) -> FrameGeometry:
    """Positions, orientation and spacing of the frames of a multi-frame object.

    Args:
        dataset: the object.
        where: what to name in errors.
        chosen: indices of the frames that are looked at, from 0; None for all.

    Raises:
        DataError: if a value is absent or impossible, or the sizes exceed the limits.
        SeriesGeometryError: if frames differ in orientation or spacing.
    """
    columns, rows = (_count(dataset, keyword, MAX_SIDE, where) for keyword in ("Columns", "Rows"))
    count = frame_count(dataset, where)
    frames = range(count) if chosen is None else chosen
    rotations, spacings, places = [], [], []
    for frame in frames:
        places.append(_numbers(dataset, frame, "PlanePositionSequence", "ImagePositionPatient", 3, where))
        rotations.append(_numbers(dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient", 6, where))
        spacings.append(_numbers(dataset, frame, "PixelMeasuresSequence", "PixelSpacing", 2, where))
    for name, values, tolerance in (
        ("orientations", rotations, _ORIENTATION_TOLERANCE),
        ("pixel spacings", spacings, _SPACING_TOLERANCE_MM),
    ):
        spread = np.ptp(np.array(values), axis=0).max()
        if spread > tolerance:
            raise SeriesGeometryError(f"{where}: frames of different {name} (by up to {spread:.4g}), expected one grid")
    if min(spacings[0]) <= 0:
        raise DataError(f"{where}: PixelSpacing is {list(spacings[0])}, expected two positive numbers")
    try:
        slice_normal(rotations[0])
    except ValueError as error:
        raise SeriesGeometryError(f"{where}: {error}") from None
    measures = functional_group(dataset, frames[0], "PixelMeasuresSequence")
    distance, thickness = (abs(float((measures or {}).get(key) or 0)) for key in _DISTANCES)
    return FrameGeometry(
        np.array(places),
        np.array(rotations[0]),
        (spacings[0][0], spacings[0][1]),
        (columns, rows),
        distance,
        thickness,
        tuple(_contradictions(dataset, frames)),
    )


def _contradictions(dataset: Dataset, frames: Sequence[int]) -> Iterator[str]:
    """Lengths and directions that a frame's own groups and the shared ones both state, and differently."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for group, keyword in _STATED if shared is not None else ():
        general = _stated(shared, group, keyword)
        own = [_stated(per_frame[frame], group, keyword) for frame in frames] if general else []
        other = [found for found in own if found and not _same_numbers(found, general)]
        if other:
            yield (
                f"{len(other)} of {len(frames)} frames: {keyword} is {_figures(general)} in the shared groups and "
                f"{_figures(other[0])} in the frame's own groups, which are used"
            )


def _stated(item: Dataset, group: str, keyword: str) -> tuple[float, ...]:
    sequence = item.get(group)
    value = sequence[0].get(keyword) if sequence else None
    if value is None:
        return ()
    return tuple(float(part) for part in (value if hasattr(value, "__iter__") else [value]))


def _same_numbers(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return len(first) == len(second) and bool(np.allclose(first, second, rtol=0, atol=_SPACING_TOLERANCE_MM))


def _figures(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def stack_frames(geometry: FrameGeometry, where: object) -> FrameStack:
    """Place frames on the regular grid that their own positions span; slices without a frame are part of it.

    The step between slices is the first of these of which every distance between neighbouring positions is a whole
    multiple: SpacingBetweenSlices, the smallest distance, SliceThickness.

    Raises:
        SeriesGeometryError: if the positions do not lie on a regular grid.
    """
    normal = slice_normal(geometry.orientation)
    along = geometry.positions_lps @ normal
    order = np.argsort(along, kind="stable")
    level = np.concatenate([[0], np.cumsum(np.diff(along[order]) > _SAME_MM)])
    distinct = np.array([along[order][level == n].mean() for n in range(int(level[-1]) + 1)])
    gaps = np.diff(distinct)
    first = geometry.positions_lps[order[0]]
    if not len(gaps):
        return _single_plane(geometry, normal, where)
    step = _slice_step(gaps, geometry, where)
    planes_of_level = np.concatenate([[0], np.cumsum(np.rint(gaps / step))]).astype(np.int64)
    if planes_of_level[-1] >= MAX_PLANES:
        raise SeriesGeometryError(
            f"{where}: frames from {distinct[0]:.3f} to {distinct[-1]:.3f} mm in steps of {step:.3f} mm make "
            f"{planes_of_level[-1] + 1} slices, expected at most {MAX_PLANES}"
        )
    planes = np.empty(len(along), dtype=np.int64)
    planes[order] = planes_of_level[level]
    advance = (geometry.positions_lps[order[-1]] - first) / planes_of_level[-1]
    _check_lateral(geometry, planes, advance, first, where)
    shape = (*geometry.shape, int(planes_of_level[-1]) + 1)
    notes = list(geometry.notes)
    if step < 0.6 * gaps.min():
        notes.append(f"no two frames are neighbours: the slice spacing of {step:.3f} mm is the header's alone")
    stated = geometry.slice_spacing_mm
    if stated and abs(stated - step) > max(_STEP_FRACTION * step, _SAME_MM):
        notes.append(
            f"SpacingBetweenSlices is {stated:g} mm, but the frames lie {step:.4g} mm apart; the positions are used"
        )
    return FrameStack(geometry.plane_affine_ras(first, advance), shape, planes, tuple(notes))


def _single_plane(geometry: FrameGeometry, normal: NDArray[np.float64], where: object) -> FrameStack:
    stated = geometry.slice_spacing_mm or geometry.thickness_mm
    notes = list(geometry.notes)
    if not stated:
        notes.append("one slice and no slice spacing in the file; 1 mm is assumed")
    elif geometry.thickness_mm and abs(stated - geometry.thickness_mm) > max(_STEP_FRACTION * stated, _SAME_MM):
        notes.append(
            f"one slice, SpacingBetweenSlices is {stated:g} mm and SliceThickness {geometry.thickness_mm:g} mm; the "
            "former is taken for its height"
        )
    first = geometry.positions_lps[0]
    planes = np.zeros(len(geometry.positions_lps), dtype=np.int64)
    _check_lateral(geometry, planes, np.zeros(3), first, where)
    affine = geometry.plane_affine_ras(first, (stated or 1.0) * normal)
    return FrameStack(affine, (*geometry.shape, 1), planes, tuple(notes))


def place_frames(geometry: FrameGeometry, affine_ras: Affine, shape: Sequence[int], where: object) -> FrameStack:
    """Place frames on a given grid ``[column, row, slice]``; each pixel must coincide with a voxel of the grid.

    Raises:
        SeriesGeometryError: if a frame does not lie on the grid, with the distance in mm.
    """
    if tuple(shape[:2]) != geometry.shape:
        raise SeriesGeometryError(
            f"{where}: frames of {geometry.shape[0]} x {geometry.shape[1]} pixels, but the grid has {shape[0]} x "
            f"{shape[1]}; read the file without a series and resample it"
        )
    inverse = np.linalg.inv(affine_ras)
    found = apply_affine(inverse, flip_lps_ras(geometry.positions_lps))
    planes = np.rint(found[:, 2]).astype(np.int64)
    last = np.array([geometry.shape[0] - 1, geometry.shape[1] - 1])
    worst = 0.0
    for corner in np.array([(0, 0), (last[0], 0), (0, last[1]), last], dtype=np.float64):
        on_grid = np.column_stack([np.broadcast_to(corner, (len(planes), 2)), planes])
        own = (
            geometry.positions_lps
            + corner[0] * geometry.orientation[:3] * geometry.pixel_spacing_mm[1]
            + corner[1] * geometry.orientation[3:] * geometry.pixel_spacing_mm[0]
        )
        worst = max(worst, float(np.linalg.norm(apply_affine(affine_ras, on_grid) - flip_lps_ras(own), axis=1).max()))
    if worst > _SAME_MM:
        raise SeriesGeometryError(
            f"{where}: frames lie up to {worst:.3f} mm off the slices of the grid (at most {_SAME_MM} mm is accepted); "
            "read the file without a series and resample it"
        )
    outside = np.flatnonzero((planes < 0) | (planes >= shape[2]))
    if len(outside):
        beyond = (max(-int(planes.min()), int(planes.max()) - shape[2] + 1)) * float(spacing_of(affine_ras)[2])
        raise SeriesGeometryError(
            f"{where}: {len(outside)} frames lie outside the {shape[2]} slices of the grid, by up to {beyond:.3f} mm; "
            "give the whole series"
        )
    fixed = np.asarray(affine_ras, np.float64)
    return FrameStack(fixed, (int(shape[0]), int(shape[1]), int(shape[2])), planes, geometry.notes)


def _slice_step(gaps: NDArray[np.float64], geometry: FrameGeometry, where: object) -> float:
    for step in (geometry.slice_spacing_mm, float(gaps.min()), geometry.thickness_mm):
        if step <= 0:
            continue
        multiples = np.rint(gaps / step)
        # Positions are rounded in files: a step measured over many slices is not spoiled by that, hence the mean.
        mean = float(gaps.sum() / max(multiples.sum(), 1))
        tolerance = max(_STEP_FRACTION * mean, _SAME_MM)
        if multiples.min() >= 1 and max(abs(mean - step), np.abs(gaps - multiples * mean).max()) <= tolerance:
            return mean
    shown = ", ".join(f"{gap:.3f}" for gap in sorted(set(gaps.round(3).tolist()))[:6])
    raise SeriesGeometryError(f"{where}: frames at distances of {shown} mm do not form a regular grid; give the series")


def _check_lateral(
    geometry: FrameGeometry,
    planes: NDArray[np.int64],
    advance: NDArray[np.float64],
    first: NDArray[np.float64],
    where: object,
) -> None:
    """Refuse frames that do not lie on one straight line of evenly spaced positions."""
    off = np.linalg.norm(geometry.positions_lps - (first + planes[:, None] * advance), axis=1)
    if off.max() > _OFF_LINE_MM:
        raise SeriesGeometryError(
            f"{where}: frame {int(off.argmax()) + 1} lies {off.max():.3f} mm off the straight line of the others, "
            f"expected at most {_OFF_LINE_MM}"
        )


def _numbers(dataset: Dataset, frame: int, group: str, keyword: str, count: int, where: object) -> tuple[float, ...]:
    item = functional_group(dataset, frame, group)
    try:
        values = tuple(float(value) for value in item.get(keyword, ())) if item is not None else ()
    except (TypeError, ValueError):
        values = ()
    if len(values) != count or not all(abs(value) < 1e9 for value in values):
        raise DataError(f"{where}: frame {frame + 1} has no {keyword} of {count} numbers")
    return values


def _count(dataset: Dataset, keyword: str, limit: int, where: object, default: int | None = None) -> int:
    try:
        value = dataset.get(keyword, default)
        number = int(default if value is None and default is not None else value)
    except (TypeError, ValueError):
        number = 0
    if not 1 <= number <= limit:
        raise DataError(f"{where}: {keyword} is {shown(dataset.get(keyword))}, expected 1 to {limit}")
    return number
