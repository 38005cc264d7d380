"""Write masks as a DICOM RT Structure Set whose contours run along the pixel borders of the source slices."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.pixel_borders import HoleStyle, trace_pixel_borders
from medseg.io.bounded.atomic import atomic_path
from medseg.io.results.identity import ObjectIdentity, uid_of
from medseg.io.results.result_masks import ResultMask, prepare_mask
from medseg.io.results.segment_info import SegmentInfo
from medseg.io.results.source import InstanceReference, SourceSeries

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["write_rtstruct"]

_CONTOUR_DATA = 0x30060050
_CONTOUR_TYPES = {"keyhole": "CLOSED_PLANAR", "separate": "CLOSEDPLANAR_XOR"}
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
_DECIMALS = 4


def write_rtstruct(
    path: str | Path,
    mask: ArrayLike,
    affine_ras: ArrayLike,
    source: SourceSeries,
    segments: Mapping[int, SegmentInfo | str] | None = None,
    *,
    holes: HoleStyle = "keyhole",
    identity: ObjectIdentity | None = None,
) -> dict[int, SegmentInfo]:
    """Write an RTSTRUCT, atomically.

    Contours follow pixel borders exactly (rounded to 0.0001 mm), so they enclose the area of the mask, and
    `medseg.io.results.rtstruct_read.read_rtstruct` gives every voxel back. Programs that smooth contours or fill them
    by another rule show a slightly different shape. Each contour lies on a source slice and refers to it. Study,
    patient and frame of reference are copied from the source, so that an archive files the result with the images:
    **the file names the patient if the source does.** The transfer syntax is implicit VR little endian, because
    explicit VR cannot hold contours beyond 64 kB.

    Contours of a mask on the grid of a repaired series keep their place in the patient within the plane, and are put on
    the nearest original slice.

    Args:
        path: the file to write.
        mask: label map ``[i, j, k]`` of whole numbers from 0, or stacked masks ``[segment, i, j, k]`` of 0 and 1.
        affine_ras: 4 x 4, voxel to RAS mm. Axes may run in any order: the affine says how the mask lies.
        source: the series that was segmented (`medseg.io.results.source.read_source`).
        segments: name or description by label value, which becomes the ROI number; values that do not occur make
            structures without contours. Every value that occurs must be named; None names them ``segment N``.
        holes: "keyhole" joins every hole to the outer border by a channel of zero width (type CLOSED_PLANAR, which
            every program reads); "separate" writes holes as separate contours (type CLOSEDPLANAR_XOR).
        identity: UIDs, time and series text of the new object; None makes new UIDs.

    Returns:
        The descriptions as written, by label value.

    Raises:
        DataError: for a mask on another grid (with mm), other values, or unnamed labels.
        ValueError: for an unknown value of ``holes``.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import read_source, write_rtstruct
        >>> affine, mask = np.diag([0.7, 0.7, 2.5, 1]), np.zeros((4, 3, 2), np.uint8)
        >>> mask[1:3, 1, 0] = 1
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(f"{folder}/ct", mask + 40, affine, patient_id="P1", series_description="water")
        ...     source = read_source(f"{folder}/ct")
        ...     written = write_rtstruct(f"{folder}/rtstruct.dcm", mask, affine, source, {1: "liver"})
        >>> written[1].name, written[1].number
        ('liver', 1)
    """
    prepared = prepare_mask(mask, affine_ras, source, segments)
    identity = identity or ObjectIdentity()
    content = (_digest(prepared), holes, source.series_uid, source.references[0].instance_uid)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom quotes odd values of the source, which may name the patient
        dataset = _build(prepared, source, holes, identity, content)
        with atomic_path(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
    return prepared.infos


def _build(
    prepared: ResultMask, source: SourceSeries, holes: HoleStyle, identity: ObjectIdentity, content: tuple[str, ...]
) -> Dataset:
    dataset = _header(source, identity, content)
    dataset.ReferencedFrameOfReferenceSequence = [_referenced_frame(source)]
    dataset.StructureSetROISequence = [_structure(info, source) for info in prepared.infos.values()]
    dataset.ROIContourSequence = [_roi_contours(prepared, value, source, holes) for value in prepared.infos]
    dataset.RTROIObservationsSequence = [_observation(info) for info in prepared.infos.values()]
    return dataset


def _digest(prepared: ResultMask) -> str:
    array = np.ascontiguousarray(prepared.array)
    parts = hashlib.sha256(array.tobytes())
    parts.update(repr((array.shape, array.dtype.str, sorted(prepared.infos.items()))).encode())
    return parts.hexdigest()


def _header(source: SourceSeries, identity: ObjectIdentity, content: tuple[str, ...]) -> Dataset:
    """Patient, study, series, equipment and structure set modules (PS3.3 A.19)."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = identity.uid("structure set", content)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = uid_of("medseg", "implementation")
    dataset.file_meta.ImplementationVersionName = "MEDSEG"
    attributes: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": RTStructureSetStorage,
        "SOPInstanceUID": dataset.file_meta.MediaStorageSOPInstanceUID,
        "Modality": "RTSTRUCT",
        "StudyInstanceUID": source.study_uid,
        "SeriesInstanceUID": identity.uid("structure set series", content),
        "FrameOfReferenceUID": source.frame_of_reference_uid,
        "PositionReferenceIndicator": source.headers[0].get("PositionReferenceIndicator", ""),
        "OperatorsName": "",
        "StructureSetLabel": "medseg",
        "StructureSetName": identity.series_description,
        "StructureSetDate": identity.date,
        "StructureSetTime": identity.time,
        "ApprovalStatus": "UNAPPROVED",
        **source.joining_fields(),
        **identity.fields(),
    }
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _referenced_frame(source: SourceSeries) -> Dataset:
    instances = {reference[:2]: _instance(reference._replace(frame_number=None)) for reference in source.references}
    series = _item(SeriesInstanceUID=source.series_uid, ContourImageSequence=list(instances.values()))
    study = _item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=source.study_uid,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=source.frame_of_reference_uid, RTReferencedStudySequence=[study])


def _structure(info: SegmentInfo, source: SourceSeries) -> Dataset:
    return _item(
        ROINumber=info.number,
        ReferencedFrameOfReferenceUID=source.frame_of_reference_uid,
        ROIName=info.name,
        ROIGenerationAlgorithm=info.algorithm_type,
    )


def _observation(info: SegmentInfo) -> Dataset:
    item = _item(
        ObservationNumber=info.number, ReferencedROINumber=info.number, RTROIInterpretedType="", ROIInterpreter=""
    )
    if not info.is_uncoded:
        value, scheme, meaning = info.kind
        code = _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)
        item.RTROIIdentificationCodeSequence = [code]
    return item


def _roi_contours(prepared: ResultMask, value: int, source: SourceSeries, holes: HoleStyle) -> Dataset:
    """One item of ROIContourSequence; without ContourSequence if the segment has no voxel."""
    info = prepared.infos[value]
    item = _item(ReferencedROINumber=info.number, ROIDisplayColor=list(info.color_rgb or (255, 0, 0)))
    contours: list[Dataset] = []
    for k, plane in prepared.planes(value):
        slices = [k] if source.repaired is None else source.repaired.slices_of(k)
        for polygon in trace_pixel_borders(plane, holes) if slices else ():
            for number in slices:
                contours.append(_contour(polygon, number, len(contours) + 1, source, _CONTOUR_TYPES[holes]))
    if contours:
        item.ContourSequence = contours
    return item


def _contour(polygon: NDArray[np.float64], k: int, number: int, source: SourceSeries, kind: str) -> Dataset:
    from pydicom.dataelem import DataElement

    geometry = source.geometry
    if source.repaired is not None:
        polygon = polygon - source.repaired.corners[k]
    points = (
        geometry.positions_lps[k]
        + polygon[:, :1] * geometry.orientation[:3] * geometry.pixel_spacing_mm[1]
        + polygon[:, 1:] * geometry.orientation[3:] * geometry.pixel_spacing_mm[0]
    )
    item = _item(
        ContourNumber=number,
        ContourImageSequence=[_instance(source.references[k])],
        ContourGeometricType=kind,
        NumberOfContourPoints=len(points),
    )
    # Text as it is written: making a number object of each value first takes most of the time.
    item[_CONTOUR_DATA] = DataElement(_CONTOUR_DATA, "DS", _decimals(points), already_converted=True)
    return item


def _decimals(points: NDArray[np.float64]) -> list[str]:
    rounded = np.round(points, _DECIMALS) + 0.0  # no negative zeros
    return [f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".") for value in rounded.ravel().tolist()]


def _instance(reference: InstanceReference) -> Dataset:
    item = _item(ReferencedSOPClassUID=reference.class_uid, ReferencedSOPInstanceUID=reference.instance_uid)
    if reference.frame_number is not None:
        item.ReferencedFrameNumber = reference.frame_number
    return item


def _item(**values: Any) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
