"""The image series that a result belongs to: headers of its slices, their grid, and masks brought onto it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, Grid, apply_affine, compare_grids, spacing_of
from medseg.geometry.slice_stack import find_problem, slice_normal, stack_affine_ras
from medseg.io.bounded.errors import DataError, SeriesGeometryError, UnreadableFileError, shorten
from medseg.io.bounded.limits import check_geometry
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.repair import PartPlan, note_duplicates, plan_parts
from medseg.io.ct.scan import choose_series, list_series
from medseg.io.ct.series import CtSeries, only_part
from medseg.io.ct.stack import SliceStack, sort_stack
from medseg.io.privacy.names import shown_uid
from medseg.io.results.frames import FrameGeometry, damage_in_one_line, read_dicom
from medseg.io.results.repaired import RepairedGrid, repaired_grid
from medseg.io.volumes.mending import grid_fix

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "InstanceReference",
    "SourceSeries",
    "UnevenSourceError",
    "place_on_source",
    "read_source",
    "repaired_grid_of",
    "source_of",
]

_STEP_FRACTION = 0.01
_STEP_FLOOR_MM = 0.011

# Attributes of a patient and a study that an object of the same study has to repeat (PS3.3 C.7.1.1, C.7.2.1): present,
# even if empty.
_JOINING = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


class InstanceReference(NamedTuple):
    """How a result names one slice of its source.

    Attributes:
        class_uid: SOPClassUID.
        instance_uid: SOPInstanceUID.
        frame_number: number from 1 of the frame in a multi-frame object, otherwise None.
    """

    class_uid: str
    instance_uid: str
    frame_number: int | None = None


@dataclass(frozen=True)
class SourceSeries:
    """A series without its pixels.

    Attributes:
        headers: a pydicom data set for each file, in the order of the first slice that it holds.
        references: what every slice is called by, by k.
        geometry: planes of the slices, by k.
        affine_ras: 4 x 4, voxel ``[i = column, j = row, k = slice along the normal]`` to RAS mm; of a series that a
            policy repairs, the repaired grid's.
        repaired: the repaired grid on which masks of the series lie, and the way back; None where nothing was repaired.
        repairs: the record of what was repaired.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import read_source
        >>> affine = np.diag([0.7, 0.7, 2.5, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(folder, np.full((4, 3, 2), 40), affine, patient_id="P1", series_description="water")
        ...     source = read_source(folder)
        >>> source.shape, source.slice_spacing_mm, len(source.references)
        ((4, 3, 2), 2.5, 2)
    """

    headers: tuple[Dataset, ...]
    references: tuple[InstanceReference, ...]
    geometry: FrameGeometry
    affine_ras: Affine
    repaired: RepairedGrid | None = None
    repairs: tuple[dict[str, Any], ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices of the grid on which masks lie."""
        if self.repaired is not None:
            return self.repaired.shape
        return (*self.geometry.shape, len(self.geometry.positions_lps))

    @property
    def grid(self) -> Grid:
        """Affine and shape of the grid on which masks lie."""
        return Grid(self.affine_ras, self.shape)

    @property
    def slice_spacing_mm(self) -> float | None:
        """Distance between slices along their normal (for tilted slices not the affine's third spacing).

        None where the original slices of a repaired series lie at varying distances.
        """
        normal = slice_normal(self.geometry.orientation)
        if self.repaired is None:
            return float(self.affine_ras[:3, 2] * (-1.0, -1.0, 1.0) @ normal)
        steps = np.diff(self.geometry.positions_lps @ normal)
        even = np.ptp(steps) <= max(_STEP_FRACTION * float(np.median(steps)), _STEP_FLOOR_MM)
        return float(steps.mean()) if even else None

    @property
    def least_step_mm(self) -> float:
        """Smallest distance between neighbouring slices along their normal."""
        return float(np.diff(self.geometry.positions_lps @ slice_normal(self.geometry.orientation)).min())

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return str(self.headers[0].StudyInstanceUID)

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.headers[0].SeriesInstanceUID)

    @property
    def frame_of_reference_uid(self) -> str:
        """FrameOfReferenceUID."""
        return str(self.headers[0].FrameOfReferenceUID)

    def joining_fields(self) -> dict[str, Any]:
        """Patient and study attributes that tie a result to the study of this series: they name the patient."""
        return {keyword: self.headers[0].get(keyword, "") for keyword in _JOINING}


class UnevenSourceError(SeriesGeometryError):
    """The slices form no regular grid, and no policy says how the mask's grid was made of them."""


def read_source(
    folder: str | Path, series_uid: str | None = None, policy: GeometryPolicy | None = None
) -> SourceSeries:
    """Read the headers of one CT series, single-frame or multi-frame, recursively under a folder.

    Slices of a tilted gantry are accepted, since SEG and RTSTRUCT state the position of every slice; missing or
    duplicate slices and variable spacing are refused, because a mask on a regular grid cannot belong to them, unless a
    policy is given: masks then lie on the grid that `medseg.io.ct.series.read_series` makes under this policy, and
    results are taken back from it to the original slices.

    Args:
        folder: where the DICOM files are.
        series_uid: SeriesInstanceUID, needed only where the folder holds several CT series.
        policy: how the series was repaired before the mask was made; None: it was not.

    Raises:
        SeriesChoiceError: no CT series, or several and none chosen; several even stretches after a split.
        UnevenSourceError: slices that form no regular grid, and no policy.
        SeriesGeometryError: slices that the policy does not repair.
        UnreadableFileError: DICOM files whose header cannot be read.
        DataError: slices of several studies, patients or frames of reference, or without the UIDs that results need.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import read_source
        >>> affine = np.diag([0.7, 0.7, 2.5, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(folder, np.full((4, 3, 2), 40), affine, patient_id="P1", series_description="water")
        ...     source = read_source(folder)
        >>> source.shape, source.affine_ras.diagonal().tolist()
        ((4, 3, 2), [0.7, 0.7, 2.5, 1.0])
    """
    listing = list_series(folder)
    entry = choose_series(listing, series_uid)
    if listing.unreadable:
        path, reason = listing.unreadable[0]
        more = f" and {len(listing.unreadable) - 1} more files" if len(listing.unreadable) > 1 else ""
        raise UnreadableFileError(f"{path}: {reason}{more}")
    stack = sort_stack(entry)
    if policy is None:
        return _from_stack(stack, Path(folder), None, ())
    plan = _plan(Path(folder), stack, policy)
    stack = replace(stack, headers=[stack.headers[index] for index in plan.indices])
    return _from_stack(stack, Path(folder), _planned_grid(plan, stack) if plan.repairs else None, plan.repairs)


def source_of(series: CtSeries) -> SourceSeries:
    """The source of a series that was read before; the folder is not scanned again.

    Masks of a series that was repaired lie on its repaired grid, as `read_source` with a policy has it.

    Args:
        series: what `medseg.io.ct.series.read_series` returned.

    Raises:
        SeriesGeometryError: slices that form no regular grid.
        UnreadableFileError: DICOM files that can no longer be read.
        DataError: as `read_source`; also for a volume that was not read from files.
    """
    if series.stack is None or series.folder is None:
        raise DataError(f"series {shown_uid(series.series_uid)} was not read from files, so results cannot refer to it")
    return _from_stack(series.stack, series.folder, repaired_grid_of(series), series.repairs)


def _from_stack(
    stack: SliceStack, folder: Path, repaired: RepairedGrid | None, repairs: Sequence[dict[str, Any]]
) -> SourceSeries:
    """Read the whole headers of sorted slices and check that results can refer to them."""
    datasets = {header.path: read_dicom(header.path, pixels=False) for header in stack.headers}
    geometry = _geometry(stack)
    affine = _regular_affine(geometry, folder) if repaired is None else repaired.affine_ras
    affine = check_geometry(folder, affine)
    headers = tuple(datasets.values())
    with damage_in_one_line(folder, show_value=False):
        _check_identity(headers, folder)
        references = tuple(
            InstanceReference(
                str(datasets[header.path].SOPClassUID), str(datasets[header.path].SOPInstanceUID), header.frame or None
            )
            for header in stack.headers
        )
        completed = tuple(_complete(header) for header in headers)
        return SourceSeries(completed, references, geometry, affine, repaired, tuple(repairs))


def _plan(folder: Path, stack: SliceStack, policy: GeometryPolicy) -> PartPlan:
    """How the mask's grid came from the slices."""
    plan = only_part(folder, plan_parts(folder, stack, policy))
    note_duplicates(plan, (stack.positions @ stack.normal).tolist())
    return plan


def _planned_grid(plan: PartPlan, stack: SliceStack) -> RepairedGrid:
    canvas = _size(stack) if plan.shear is None else plan.shear.shape
    affine = stack_affine_ras(plan.positions, stack.orientation, stack.pixel_spacing)
    return _repaired(affine, (*canvas, len(plan.positions)), stack)


def _repaired(affine_ras: Affine, shape: Sequence[int], stack: SliceStack) -> RepairedGrid:
    return repaired_grid(affine_ras, shape, stack.positions, _size(stack))


def _size(stack: SliceStack) -> tuple[int, int]:
    columns, rows = (int(stack.headers[0].numbers(keyword, 1)[0]) for keyword in ("Columns", "Rows"))
    return columns, rows


def repaired_grid_of(series: CtSeries) -> RepairedGrid | None:
    """The grid of a series that was repaired, and where its original slices lie on it; None if it was not repaired.

    Raises:
        DataError: for a volume that was not read from files.
    """
    if not series.repairs:
        return None
    if series.stack is None:
        raise DataError(f"series {shown_uid(series.series_uid)} was not read from files, so its slices are unknown")
    return _repaired(series.affine_ras, series.array.shape, series.stack)


def place_on_source(mask: NDArray[Any], affine_ras: ArrayLike, source: SourceSeries) -> NDArray[Any]:
    """Bring a mask into the source's order ``[column, row, slice]``; its affine alone says how its axes run.

    Args:
        mask: ``[i, j, k]``, or stacked ``[segment, i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.
        source: the series that the mask was made from.

    Returns:
        The mask, its axes permuted and reversed where the affine says so; no value is resampled.

    Raises:
        DataError: if the mask does not cover the same voxels, with the difference in mm.
    """
    if mask.ndim not in (3, 4):
        raise DataError(f"mask has shape {mask.shape}, expected [i, j, k] or [segment, i, j, k]")
    shape = mask.shape[-3:]
    found = compare_grids(affine_ras, shape, source.affine_ras, source.shape)
    if found.kind == "same":
        return mask
    if found.kind == "reordered":
        if mask.ndim == 3:
            return found.reordering.apply(mask)
        return np.stack([found.reordering.apply(segment) for segment in mask])
    series, fix = "series", grid_fix(found, affine_ras, shape, source.affine_ras, "SERIES MASK")
    if source.repaired is not None:
        series, fix = "repaired series", "give the mask that was made on the image of this very repair"
    raise DataError(
        f"the mask lies on another grid than the {series}: {found.describe()}; mask {_grid(affine_ras, shape)}, series "
        f"{_grid(source.affine_ras, source.shape)}, centres {_centre_shift(affine_ras, shape, source):.3f} mm apart; "
        + fix
    )


def _grid(affine_ras: ArrayLike, shape: Sequence[int]) -> str:
    size = " x ".join(str(n) for n in shape)
    return f"{size} of {' x '.join(f'{value:.4g}' for value in spacing_of(affine_ras))} mm"


def _centre_shift(affine_ras: ArrayLike, shape: Sequence[int], source: SourceSeries) -> float:
    own = apply_affine(affine_ras, (np.asarray(shape) - 1) / 2)
    other = apply_affine(source.affine_ras, (np.asarray(source.shape) - 1) / 2)
    return float(np.linalg.norm(own - other))


def _check_identity(headers: Sequence[Dataset], folder: Path) -> None:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        values = {str(header.get(keyword, "") or "") for header in headers}
        if len(values) > 1:  # values are not shown: they may name a patient
            raise DataError(f"{folder}: {len(values)} values of {keyword} in one series, expected one")
        if keyword.endswith("UID") and values == {""}:
            raise DataError(f"{folder}: the slices have no {keyword}, to which a result has to refer")
    for header in headers:
        # Some programs clear the class; the file's meta group still holds it.
        if not header.get("SOPClassUID"):
            header.SOPClassUID = header.file_meta.get("MediaStorageSOPClassUID", "")
    if any(not header.SOPClassUID for header in headers):
        raise DataError(f"{folder}: slices without SOPClassUID, by which a result has to refer to them")
    uids = [str(header.get("SOPInstanceUID", "") or "") for header in headers]
    if "" in uids or len(set(uids)) < len(uids):
        twice = shorten(sorted({uid for uid in uids if uids.count(uid) > 1}), 3)
        raise DataError(f"{folder}: SOPInstanceUID absent or used twice ({twice}); remove second copies")


def _geometry(stack: SliceStack) -> FrameGeometry:
    first = stack.headers[0]
    with damage_in_one_line(first.path):
        distance, thickness = (
            abs(float(first.get(keyword) or 0)) for keyword in ("SpacingBetweenSlices", "SliceThickness")
        )
    return FrameGeometry(
        stack.positions,
        np.array(stack.orientation),
        (stack.pixel_spacing[0], stack.pixel_spacing[1]),
        _size(stack),
        distance,
        thickness,
    )


def _regular_affine(geometry: FrameGeometry, folder: Path) -> Affine:
    positions = geometry.positions_lps
    normal = slice_normal(geometry.orientation)
    if len(positions) == 1:
        step = geometry.slice_spacing_mm or geometry.thickness_mm
        if not step:
            raise SeriesGeometryError(f"{folder}: one slice without SliceThickness, so its extent is unknown")
        return geometry.plane_affine_ras(positions[0], step * normal)
    advance = (positions[-1] - positions[0]) / (len(positions) - 1)
    line = positions[0] + np.arange(len(positions))[:, None] * advance
    tolerance = max(_STEP_FRACTION * float(np.linalg.norm(advance)), _STEP_FLOOR_MM)
    if float(advance @ normal) <= 0 or np.linalg.norm(positions - line, axis=1).max() > tolerance:
        problem = find_problem(positions, normal)
        text = problem.text if problem is not None else f"slices lie more than {tolerance:.3f} mm off an even stack"
        raise UnevenSourceError(f"{folder}: {text}; results can be written only for a complete, even series")
    return geometry.plane_affine_ras(positions[0], advance)


def _complete(header: Dataset) -> Dataset:
    """Give a header every attribute by which a result joins the study, empty where the source has none."""
    for keyword in _JOINING:
        if keyword not in header:
            setattr(header, keyword, "")
    return header
