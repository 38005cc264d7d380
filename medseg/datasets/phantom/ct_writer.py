"""Write a volume as a standards-valid series of CT Image Storage objects.

Array axis ``i`` becomes the DICOM column index, ``j`` the row index and ``k`` the slice. Slices are numbered so that
the position runs along the plane's normal (row direction x column direction, LPS): for a right-handed grid
InstanceNumber 1 is ``k = 0``, for a left-handed one it is the last ``k``. No voxel is flipped or moved in space.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, direction_of, flip_lps_ras, spacing_of
from medseg.io.results.identity import uid_of

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["WrittenSeries", "write_ct_series"]

RESCALE_INTERCEPT = -1024
_ORTHOGONAL_TOLERANCE = 1e-4
_DATE, _TIME = "20000101", "000000"


class WrittenSeries(NamedTuple):
    """What `write_ct_series` wrote.

    Attributes:
        folder: the series folder.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        frame_uid: FrameOfReferenceUID.
        sop_uids: SOPInstanceUID of every slice, by array index ``k``.
        files: file name of every slice, by array index ``k``.
    """

    folder: Path
    study_uid: str
    series_uid: str
    frame_uid: str
    sop_uids: list[str]
    files: list[str]


class _Plane(NamedTuple):
    """Image plane geometry in LPS mm: unit row and column direction, normal, spacing (i, j, k), positions by ``k``."""

    orientation: list[float]
    spacing_mm: NDArray[np.float64]
    positions: NDArray[np.float64]
    numbers: list[int]
    locations: NDArray[np.float64]


def write_ct_series(
    folder: str | Path,
    image_hu: ArrayLike,
    affine_ras: ArrayLike,
    *,
    patient_id: str,
    series_description: str,
    patient_name: str = "",
    study_description: str = "",
    body_part: str = "",
    manufacturer: str = "medseg",
    image_comments: str = "",
    uid_seed: str | None = None,
    window: tuple[float, float] = (40.0, 400.0),
    padding_hu: int | None = None,
) -> WrittenSeries:
    """Write HU as one CT series: derived secondary images, explicit VR little endian, signed 16 bit, RescaleType HU.

    UIDs depend only on the arguments, so writing the same data twice gives the same files. Study and frame of reference
    follow from ``uid_seed``, so several series of one seed share them. File names are not in slice order. The folder
    appears only when it is complete.

    Args:
        folder: the series folder; it must not exist, or be empty.
        image_hu: integers ``[i, j, k]`` in HU, -33792..31743.
        affine_ras: 4 x 4, voxel to RAS mm; the three axes must be orthogonal.
        patient_id: PatientID.
        series_description: SeriesDescription.
        patient_name: PatientName in DICOM form (``FAMILY^GIVEN``).
        study_description: StudyDescription.
        body_part: BodyPartExamined, e.g. ``ABDOMEN``.
        manufacturer: Manufacturer.
        image_comments: ImageComments.
        uid_seed: text that the study and frame of reference UIDs follow from; None uses ``patient_id``.
        window: default display centre and width in HU.
        padding_hu: HU of voxels outside the scan circle (PixelPaddingValue), or None.

    Returns:
        The UIDs and file names, by array index ``k``.

    Raises:
        ValueError: one line if the grid is not orthogonal, the values are not integers in range, or the folder holds
            files already.
    """
    folder = Path(folder)
    stored = _stored_values(image_hu)
    plane = _image_plane(affine_ras, stored.shape)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: exists and is not an empty folder; choose another or remove it first")
    seed = patient_id if uid_seed is None else uid_seed
    content = hashlib.sha256(stored.tobytes()).hexdigest() + str(np.asarray(affine_ras).tolist())
    series = uid_of(seed, "series", series_description, content)
    count = stored.shape[2]
    sop_uids = [uid_of(series, "slice", k) for k in range(count)]
    shuffled = np.random.default_rng(uuid.uuid5(uuid.NAMESPACE_OID, series).int).permutation(count) + 1
    files = [f"IM{number:05d}.dcm" for number in shuffled]
    result = WrittenSeries(folder, uid_of(seed, "study"), series, uid_of(seed, "frame of reference"), sop_uids, files)
    common: dict[str, Any] = {
        "PatientName": patient_name,
        "PatientID": patient_id,
        "StudyDescription": study_description,
        "SeriesDescription": series_description,
        "BodyPartExamined": body_part,
        "Manufacturer": manufacturer,
        "ImageComments": image_comments,
        "WindowCenter": _ds(window[0]),
        "WindowWidth": _ds(window[1]),
    }
    optional = ("StudyDescription", "SeriesDescription", "BodyPartExamined", "ImageComments")
    common = {name: value for name, value in common.items() if value != "" or name not in optional}
    if padding_hu is not None:
        common["PixelPaddingValue"] = padding_hu - RESCALE_INTERCEPT
    _write_folder(result, stored, plane, common)
    return result


def _stored_values(image_hu: ArrayLike) -> NDArray[np.int16]:
    image = np.asarray(image_hu)
    if image.ndim != 3 or 0 in image.shape or max(image.shape[:2]) > 65535:
        raise ValueError(f"image_hu has shape {image.shape}, expected three axes with at most 65535 rows and columns")
    if image.dtype.kind not in "iu":
        raise ValueError(f"image_hu has type {image.dtype}, expected whole HU as integers; round it first")
    low, high = int(image.min()), int(image.max())
    if low - RESCALE_INTERCEPT < -32768 or high - RESCALE_INTERCEPT > 32767:
        raise ValueError(f"image_hu ranges from {low} to {high}, expected -33792..31743 HU; clip it first")
    return (image.astype(np.int32) - RESCALE_INTERCEPT).astype("<i2")


def _image_plane(affine_ras: ArrayLike, shape: tuple[int, ...]) -> _Plane:
    affine: Affine = flip_lps_ras(affine_ras)
    direction = direction_of(affine)
    gram = direction.T @ direction - np.eye(3)
    if np.abs(gram).max() > _ORTHOGONAL_TOLERANCE:
        degrees = float(np.rad2deg(np.arcsin(min(np.abs(gram).max(), 1.0))))
        raise ValueError(
            f"affine_ras is sheared by {degrees:.3f} degrees, but a CT series needs orthogonal axes; resample it first"
        )
    normal = np.cross(direction[:, 0], direction[:, 1])
    positions = affine[:3, 3] + np.arange(shape[2])[:, None] * affine[:3, 2]
    ascending = float(normal @ direction[:, 2]) > 0
    numbers = [k + 1 if ascending else shape[2] - k for k in range(shape[2])]
    orientation = [float(value) for axis in (0, 1) for value in direction[:, axis]]
    return _Plane(orientation, spacing_of(affine), positions, numbers, positions @ normal)


def _write_folder(series: WrittenSeries, stored: NDArray[np.int16], plane: _Plane, common: dict[str, Any]) -> None:
    """Write all slices into a temporary sibling, then move it into place in one step."""
    series.folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=series.folder.parent))
    try:
        for k, name in enumerate(series.files):
            dataset = _slice_dataset(series, stored[:, :, k], plane, k)
            for keyword, value in common.items():
                setattr(dataset, keyword, value)
            dataset.save_as(temporary / name, enforce_file_format=True)
        mode = 0o777 & ~_umask()
        os.chmod(temporary, mode)
        if series.folder.is_dir():
            series.folder.rmdir()
        os.replace(temporary, series.folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _slice_dataset(series: WrittenSeries, plane_values: NDArray[np.int16], plane: _Plane, k: int) -> Dataset:
    """One slice without the attributes that the caller chooses; see PS3.3 A.3.3 (CT Image IOD modules)."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = series.sop_uids[k]
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = uid_of("medseg", "implementation")
    dataset.file_meta.ImplementationVersionName = "MEDSEG"
    attributes: dict[str, Any] = {
        # SOP Common, General Study, Patient
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": series.sop_uids[k],
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": series.study_uid,
        "StudyDate": _DATE,
        "StudyTime": _TIME,
        "StudyID": "1",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        # General Series, Frame of Reference, General Equipment
        "Modality": "CT",
        "SeriesInstanceUID": series.series_uid,
        "SeriesNumber": 1,
        "SeriesDate": _DATE,
        "SeriesTime": _TIME,
        "PatientPosition": "HFS",
        "FrameOfReferenceUID": series.frame_uid,
        "PositionReferenceIndicator": "",
        "ManufacturerModelName": "medseg",
        "SoftwareVersions": "medseg",
        # General Image, CT Image: no scanner made these pixels, hence DERIVED
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "InstanceNumber": plane.numbers[k],
        "AcquisitionNumber": 1,
        "AcquisitionDate": _DATE,
        "AcquisitionTime": _TIME,
        "ContentDate": _DATE,
        "ContentTime": _TIME,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "KVP": "120",
        "RescaleIntercept": str(RESCALE_INTERCEPT),
        "RescaleSlope": "1",
        "RescaleType": "HU",
    }
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    _set_plane(dataset, plane, k)
    _set_pixels(dataset, plane_values)
    return dataset


def _set_plane(dataset: Dataset, plane: _Plane, k: int) -> None:
    """Image Plane module; PixelSpacing is [between rows, between columns] = [j, i]."""
    dataset.ImageOrientationPatient = [_ds(value) for value in plane.orientation]
    dataset.ImagePositionPatient = [_ds(value) for value in plane.positions[k]]
    dataset.PixelSpacing = [_ds(plane.spacing_mm[1]), _ds(plane.spacing_mm[0])]
    dataset.SliceThickness = _ds(plane.spacing_mm[2])
    dataset.SpacingBetweenSlices = _ds(plane.spacing_mm[2])
    dataset.SliceLocation = _ds(plane.locations[k])


def _set_pixels(dataset: Dataset, plane_values: NDArray[np.int16]) -> None:
    """Image Pixel module; rows are the array's ``j``, columns its ``i``."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Columns, dataset.Rows = plane_values.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    data = np.ascontiguousarray(plane_values.T).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters, as precise as that allows (better than 1e-9 for positions)."""
    from pydicom.valuerep import format_number_as_ds

    # Adding 0.0 turns -0.0 into 0.0.
    return format_number_as_ds(float(value) + 0.0)
