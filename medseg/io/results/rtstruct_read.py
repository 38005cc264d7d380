"""Read DICOM RT Structure Sets: as contours, and as masks on the grid of a series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Grid
from medseg.io.bounded.choice import ALL_ITEMS, ItemChoice
from medseg.io.bounded.errors import DataError
from medseg.io.privacy.names import shown
from medseg.io.results.frames import damage_in_one_line, read_dicom
from medseg.io.results.rtstruct_masks import Combine, structure_masks
from medseg.io.results.seg_segments import clean_name, read_code
from medseg.io.results.segment_info import ALGORITHM_TYPES, Code, SegmentInfo
from medseg.io.results.segment_masks import SegmentMasks
from medseg.io.results.source import SourceSeries
from medseg.io.results.structure_set import Contour, Roi, StructureSet

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["read_rtstruct", "read_structures"]

_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_CONTOUR_DATA = 0x30060050
_FARTHEST_MM = 1e6


def read_rtstruct(
    path: str | Path,
    onto: SourceSeries | Grid,
    combine: Combine = "xor",
    *,
    choice: ItemChoice = ALL_ITEMS,
    allow_partial: bool = False,
) -> SegmentMasks:
    """Read an RTSTRUCT and fill its contours: a voxel belongs to a structure if its centre lies inside.

    Args:
        path: the file.
        onto: the series that was contoured (`medseg.io.results.source.read_source`), or a grid in RAS mm with axes in
            any order. Contours hold points, not voxels, so they need a grid.
        combine: what overlapping contours of one structure give on a slice: "xor" makes an inner contour a hole,
            "union" does not.
        choice: which structures are wanted, by name or number; the others are not looked at.
        allow_partial: go on without structures that cannot be used; each is in ``refused`` with the reason.

    Returns:
        One boolean mask for each structure; structures without contours have empty masks. Empty masks, and contours
        that are left out, overlap, skip slices or reach beyond the image, are named in ``warnings``.

    Raises:
        DataError: not an RTSTRUCT, damaged contours, or contours in another frame of reference, between the slices of
            the grid or outside it, with the numbers; with ``allow_partial`` if that holds for all structures.
        UnreadableFileError: a file that is cut off.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import read_rtstruct, read_source, write_rtstruct
        >>> affine, mask = np.diag([0.7, 0.7, 2.5, 1]), np.zeros((4, 3, 2), np.uint8)
        >>> mask[1:3, 1, 0] = 1
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(f"{folder}/ct", mask + 40, affine, patient_id="P1", series_description="water")
        ...     source = read_source(f"{folder}/ct")
        ...     _ = write_rtstruct(f"{folder}/rtstruct.dcm", mask, affine, source, {1: "liver"})
        ...     masks = read_rtstruct(f"{folder}/rtstruct.dcm", onto=source)
        >>> masks.segments[0].info.name, bool((masks.mask(0) == mask).all())
        ('liver', True)
    """
    structures = read_structures(path, allow_partial=True)
    return structure_masks(structures, onto, combine, choice=choice, allow_partial=allow_partial)


def read_structures(path: str | Path, *, allow_partial: bool = False) -> StructureSet:
    """Read names, colours and contours of an RTSTRUCT; structures without contours are kept.

    Args:
        path: the file.
        allow_partial: keep structures whose contours are damaged or refer to nothing, with the reason in ``fault``.

    Raises:
        DataError: if it is not an RTSTRUCT, or a number is used twice; without ``allow_partial`` also for a structure
            whose contours cannot be used.
        UnreadableFileError: a file that is cut off.
    """
    where = Path(path)
    data = read_dicom(where)
    with damage_in_one_line(where):
        structures = _read(data, where)
    faults = [roi.fault for roi in structures.rois if roi.fault]
    if faults and not allow_partial:
        raise DataError(f"{where}: {faults[0]}")
    return structures


def _read(data: Dataset, where: Path) -> StructureSet:
    if str(data.get("SOPClassUID", "")) != _CLASS:
        name = getattr(data.get("SOPClassUID"), "name", "no SOP class")
        raise DataError(f"{where}: {name}, expected an RT Structure Set (Modality RTSTRUCT)")
    rois: dict[int, Roi] = {}
    for item in data.get("StructureSetROISequence") or []:
        number = _number(item, "ROINumber", where)
        if number in rois:
            raise DataError(f"{where}: two structures have the number {number}")
        algorithm = str(item.get("ROIGenerationAlgorithm", "") or "")
        info = _info(number, clean_name(item.get("ROIName"), f"structure {number}"), algorithm)
        rois[number] = Roi(info, str(item.get("ReferencedFrameOfReferenceUID", "") or ""), ())
    _add_codes(data, rois, where)
    _add_contours(data, rois, where)
    return StructureSet(tuple(rois[number] for number in sorted(rois)), _source(data), where)


def _info(number: int, name: str, algorithm: str) -> SegmentInfo:
    return SegmentInfo(
        name=name,
        category=Code("", "", ""),
        kind=Code("", "", ""),
        algorithm_type=algorithm if algorithm in ALGORITHM_TYPES else "MANUAL",
        algorithm_name="",
        number=number,
    )


def _add_codes(data: Dataset, rois: dict[int, Roi], where: Path) -> None:
    for item in data.get("RTROIObservationsSequence") or []:
        number = _number(item, "ReferencedROINumber", where)
        code = read_code(item, "RTROIIdentificationCodeSequence")
        if number in rois and code is not None:
            rois[number] = replace(rois[number], info=replace(rois[number].info, kind=code))


def _add_contours(data: Dataset, rois: dict[int, Roi], where: Path) -> None:
    done: set[int] = set()
    for item in data.get("ROIContourSequence") or []:
        number = _number(item, "ReferencedROINumber", where)
        if number not in rois or number in done:
            known = rois.get(number) or Roi(_info(number, f"structure {number}", ""), "", ())
            fault = f"contours of structure {number}, which is listed twice or not at all"
            rois[number] = replace(known, contours=(), fault=fault)
            continue
        done.add(number)
        try:
            with damage_in_one_line(where):
                rois[number] = _with_contours(rois[number], item, where)
        except DataError as error:
            rois[number] = replace(rois[number], fault=str(error).removeprefix(f"{where}: "))


def _with_contours(roi: Roi, item: Dataset, where: Path) -> Roi:
    contours = tuple(
        _contour(entry, f"{where}: contour {index} of {roi.info.name!r}")
        for index, entry in enumerate(item.get("ContourSequence") or [], start=1)
    )
    return replace(roi, info=replace(roi.info, color_rgb=_color(item.get("ROIDisplayColor"))), contours=contours)


def _contour(item: Dataset, where: str) -> Contour:
    points = _points(item, where)
    declared = item.get("NumberOfContourPoints")
    if declared is not None and int(declared) != len(points):
        raise DataError(f"{where}: NumberOfContourPoints is {int(declared)}, but there are {len(points)} points")
    images = item.get("ContourImageSequence") or []
    uid = str(images[0].get("ReferencedSOPInstanceUID", "") or "") if images else ""
    return Contour(points, str(item.get("ContourGeometricType", "") or ""), uid)


def _points(item: Dataset, where: str) -> NDArray[np.float64]:
    # The stored text: pydicom would make a number object for each of a million values.
    element = item.get_item(_CONTOUR_DATA)
    value = None if element is None else element.value
    try:
        parts = value.split(b"\\") if isinstance(value, bytes) else list(value or ())
        numbers = np.array([float(part) for part in parts])
    except ValueError:
        raise DataError(f"{where}: ContourData holds text that is not a number; the file is damaged") from None
    if not len(numbers) or len(numbers) % 3 or not np.all(np.abs(numbers) < _FARTHEST_MM):
        raise DataError(
            f"{where}: {len(numbers)} values in ContourData, expected triples of numbers within {_FARTHEST_MM:g} mm"
        )
    return numbers.reshape(-1, 3)


def _color(value: Any) -> tuple[int, int, int] | None:
    if value is None or len(value) != 3:
        return None
    red, green, blue = (min(max(int(part), 0), 255) for part in value)
    return red, green, blue


def _number(item: Dataset, keyword: str, where: Path) -> int:
    try:
        return int(item.get(keyword))
    except (TypeError, ValueError):
        raise DataError(f"{where}: {keyword} is {shown(item.get(keyword))}, expected a whole number") from None


def _source(data: Dataset) -> dict[str, Any]:
    frames = list(data.get("ReferencedFrameOfReferenceSequence") or [])
    studies = [study for frame in frames for study in frame.get("RTReferencedStudySequence") or []]
    series = [entry for study in studies for entry in study.get("RTReferencedSeriesSequence") or []]
    images = [image for entry in series for image in entry.get("ContourImageSequence") or []]
    return {
        "series_uid": str(series[0].get("SeriesInstanceUID", "")) if series else "",
        "frame_of_reference_uid": str(frames[0].get("FrameOfReferenceUID", "")) if frames else "",
        "sop_instance_uids": [str(image.get("ReferencedSOPInstanceUID", "")) for image in images],
    }
