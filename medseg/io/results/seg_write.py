"""Write masks as a DICOM Segmentation object (SEG) that refers to the slices of its source series."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.io.bounded.atomic import atomic_path
from medseg.io.bounded.errors import DataError
from medseg.io.results.identity import EQUIPMENT, ObjectIdentity
from medseg.io.results.result_masks import prepare_mask
from medseg.io.results.seg_segments import cielab_from_rgb
from medseg.io.results.segment_info import SegmentInfo
from medseg.io.results.source import SourceSeries

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

__all__ = ["SegKind", "write_seg"]

SegKind = Literal["binary", "labelmap"]
"""``binary`` stores one frame of bits for every segment and slice. ``labelmap`` stores one frame of numbers for every
slice: a newer class that fewer programs read, and much smaller for many segments."""


def write_seg(
    path: str | Path,
    mask: ArrayLike,
    affine_ras: ArrayLike,
    source: SourceSeries,
    segments: Mapping[int, SegmentInfo | str] | None = None,
    *,
    kind: SegKind = "binary",
    identity: ObjectIdentity | None = None,
) -> dict[int, SegmentInfo]:
    """Write a DICOM SEG, atomically; empty frames are left out.

    Every frame has the position, orientation and spacing of its source slice and refers to that slice. Study, patient
    and frame of reference are copied from the source, so that an archive files the result with the images: **the file
    names the patient if the source does.**

    A mask on the grid of a repaired series is taken back to the original slices: each of their pixels gets the nearest
    voxel (`medseg.io.results.repaired.RepairedGrid.residual` says in mm how near).

    Args:
        path: the file to write.
        mask: label map ``[i, j, k]`` of whole numbers from 0, or stacked masks ``[segment, i, j, k]`` of 0 and 1, in
            which segment n (from 1) is ``mask[n - 1]`` and segments may overlap.
        affine_ras: 4 x 4, voxel to RAS mm. Axes may run in any order: the affine says how the mask lies.
        source: the series that was segmented (`medseg.io.results.source.read_source`).
        segments: name or description by label value; values that do not occur make empty segments. Every value that
            occurs must be named; None names them ``segment N``.
        kind: "binary" or "labelmap". Binary segments are numbered 1, 2, 3 ... in the order of their label values, as
            the format requires; a label map keeps its values.
        identity: UIDs, time and series text of the new object; None makes new UIDs.

    Returns:
        The descriptions as written, by label value; ``number`` is the segment number in the file.

    Raises:
        RuntimeError: if highdicom is not installed.
        DataError: for a mask on another grid, other values, unnamed labels, or overlapping segments in a label map.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.datasets.phantom.ct_writer import write_ct_series
        >>> from medseg.io import read_source, write_seg
        >>> affine, mask = np.diag([0.7, 0.7, 2.5, 1]), np.zeros((4, 3, 2), np.uint8)
        >>> mask[1:3, 1, 0] = 1
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_ct_series(f"{folder}/ct", mask + 40, affine, patient_id="P1", series_description="water")
        ...     source = read_source(f"{folder}/ct")
        ...     written = write_seg(f"{folder}/seg.dcm", mask, affine, source, {1: "liver"})
        >>> written[1].name, written[1].kind.meaning
        ('liver', 'Liver')
    """
    hd = _highdicom()
    if kind not in get_args(SegKind):
        raise DataError(f"kind is {kind!r}, expected one of {', '.join(get_args(SegKind))}")
    placed, infos, _ = prepare_mask(mask, affine_ras, source, segments)
    if kind == "binary":
        infos = {value: replace(info, number=n) for n, (value, info) in enumerate(infos.items(), start=1)}
        placed = placed if placed.ndim == 4 else _renumbered(placed, infos)
    elif placed.ndim == 4:
        placed = _flattened(placed)
    if source.repaired is not None:
        placed = source.repaired.on_slices(placed)
    identity = identity or ObjectIdentity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values of the source, which may name the patient
        dataset = _build(hd, placed, infos, source, kind, identity)
        with atomic_path(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
    return infos


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError:
        raise RuntimeError("writing DICOM SEG needs highdicom: pip install 'medseg[seg]'") from None
    return highdicom


def _flattened(stacked: NDArray[Any]) -> NDArray[np.uint16]:
    covered = stacked.sum(axis=0, dtype=np.uint16)
    if covered.max(initial=0) > 1:
        raise DataError(f"segments overlap in {int((covered > 1).sum())} voxels; a label map cannot hold them")
    labels = np.zeros(stacked.shape[1:], dtype=np.uint16)
    for number, segment in enumerate(stacked, start=1):
        labels[segment > 0] = number
    return labels


def _renumbered(labels: NDArray[Any], infos: Mapping[int, SegmentInfo]) -> NDArray[Any]:
    table = np.zeros(max(max(infos), int(labels.max(initial=0))) + 1, dtype=np.uint16)
    for value, info in infos.items():
        table[value] = info.number
    return table[labels]


def _build(
    hd: Any,
    placed: NDArray[Any],
    infos: Mapping[int, SegmentInfo],
    source: SourceSeries,
    kind: str,
    identity: ObjectIdentity,
) -> Segmentation:
    geometry = source.geometry
    # [column, row, slice] to highdicom's [slice, row, column(, segment)]
    pixels = placed.T if placed.ndim == 3 else placed.transpose(3, 2, 1, 0)
    content = (_digest(placed, infos), source.series_uid, *(source.references[k].instance_uid for k in (0, -1)))
    thickness = source.headers[0].get("SliceThickness") or source.slice_spacing_mm or source.least_step_mm
    with _in_one_line(hd, source):
        dataset = hd.seg.Segmentation(
            source_images=list(source.headers),
            pixel_array=np.ascontiguousarray(pixels),
            segmentation_type=kind.upper(),
            segment_descriptions=[_description(hd, info, identity) for info in infos.values()],
            series_instance_uid=identity.uid("segmentation series", content),
            series_number=identity.series_number,
            sop_instance_uid=identity.uid("segmentation", content),
            instance_number=1,
            manufacturer=EQUIPMENT["Manufacturer"],
            manufacturer_model_name=EQUIPMENT["ManufacturerModelName"],
            software_versions=identity.software_version(),
            device_serial_number=EQUIPMENT["DeviceSerialNumber"],
            pixel_measures=hd.PixelMeasuresSequence(
                geometry.pixel_spacing_mm, slice_thickness=thickness, spacing_between_slices=source.slice_spacing_mm
            ),
            plane_orientation=hd.PlaneOrientationSequence("PATIENT", geometry.orientation.tolist()),
            plane_positions=[hd.PlanePositionSequence("PATIENT", point) for point in geometry.positions_lps.tolist()],
            omit_empty_frames=True,
            content_label="SEGMENTATION",
            content_creator_name="",
            specific_character_set="ISO_IR 192",
        )
    _settle(dataset, identity, content)
    return dataset


@contextmanager
def _in_one_line(hd: Any, source: SourceSeries) -> Iterator[None]:
    """Turn an error of highdicom into one line, without header values that name the patient."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        for keyword, value in source.joining_fields().items():
            reason = reason.replace(str(value), f"({keyword})") if str(value) else reason
        raise DataError(
            f"the headers of the series cannot carry a segmentation (highdicom {hd.__version__}: {reason}); write "
            "an RTSTRUCT instead or correct the headers"
        ) from error


def _digest(placed: NDArray[Any], infos: Mapping[int, SegmentInfo]) -> str:
    parts = hashlib.sha256(np.ascontiguousarray(placed).tobytes())
    parts.update(repr((placed.shape, placed.dtype.str, sorted(infos.items()))).encode())
    return parts.hexdigest()


def _description(hd: Any, info: SegmentInfo, identity: ObjectIdentity) -> SegmentDescription:
    from pydicom.sr.coding import Code

    algorithm = None
    if info.algorithm_type != "MANUAL":
        algorithm = hd.AlgorithmIdentificationSequence(
            name=info.algorithm_name or "medseg",
            family=Code("123109", "DCM", "Artificial Intelligence"),
            version=identity.software_version(),
        )
    return hd.seg.SegmentDescription(
        segment_number=info.number,
        segment_label=info.name,
        segmented_property_category=Code(*info.category),
        segmented_property_type=Code(*info.kind),
        algorithm_type=info.algorithm_type,
        algorithm_identification=algorithm,
        anatomic_regions=None if info.region is None else [Code(*info.region)],
        display_color=None if info.color_rgb is None else hd.color.CIELabColor(*cielab_from_rgb(info.color_rgb)),
    )


def _settle(dataset: Segmentation, identity: ObjectIdentity, content: tuple[str, ...]) -> None:
    """Replace the UIDs and times that highdicom chose at random or by the clock."""
    for keyword, value in identity.fields().items():
        setattr(dataset, keyword, value)
    dataset.ContentDate, dataset.ContentTime = identity.date, identity.time
    organization = identity.uid("dimension organization", content)
    for item in [*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence]:
        item.DimensionOrganizationUID = organization
    for item in dataset.get("ContributingEquipmentSequence") or []:
        if "ContributionDateTime" in item:
            item.ContributionDateTime = identity.date + identity.time
