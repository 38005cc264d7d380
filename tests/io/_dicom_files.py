"""Small synthetic DICOM CT series for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SERIES_UID = "1.2.826.0.1.3680043.8.498.1"


def make_slice(
    pixels: NDArray[Any],
    position: tuple[float, ...],
    orientation: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float] = (0.7, 0.6),
    instance: int = 1,
    **tags: Any,
) -> FileDataset:
    """One CT slice from stored pixels ``[row, column]``; keyword arguments set or (None) delete further tags."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = SERIES_UID, "1.2.3", "CT"
    data.PatientName, data.PatientID, data.InstanceNumber = "Synthetic^Person", "S-1", instance
    data.ImagePositionPatient, data.ImageOrientationPatient = list(position), list(orientation)
    data.PixelSpacing, data.SliceThickness = list(spacing), 9.0
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, int(pixels.dtype.kind == "i")
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    for keyword, value in tags.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return data


def positions(
    count: int,
    step: float = 2.5,
    orientation: tuple[float, ...] = AXIAL,
    origin: tuple[float, float, float] = (-12.5, 7.25, 40.0),
) -> list[tuple[float, ...]]:
    """Evenly spaced positions along the slice normal."""
    normal = np.cross(orientation[:3], orientation[3:])
    return [tuple((np.array(origin) + k * step * normal).round(6).tolist()) for k in range(count)]


def stored_pixels(k: int, shape: tuple[int, int] = (6, 5)) -> NDArray[np.int16]:
    """Distinct stored values for every row, column and slice."""
    row, column = np.indices(shape)
    return (1000 + 100 * k + 10 * row + column).astype(np.int16)


def write_series(
    folder: Path,
    where: list[tuple[float, ...]],
    orientation: tuple[float, ...] = AXIAL,
    change: Callable[[int, FileDataset], None] | None = None,
    shows: Sequence[int] | None = None,
    **tags: Any,
) -> list[Path]:
    """Write slices at the given positions; the file names are in no useful order and have no extension.

    Args:
        folder: made if missing.
        where: ImagePositionPatient of every slice.
        orientation: six cosines.
        change: called with index and data set before saving.
        shows: number of the `stored_pixels` that each slice shows; by default every slice shows others.
        tags: set on (None: deleted from) every slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, position in enumerate(where):
        pixels = stored_pixels(k if shows is None else shows[k])
        data = make_slice(pixels, position, orientation, instance=len(where) - k, **tags)
        if change is not None:
            change(k, data)
        path = folder / f"IM{(k * 7) % 11}_{k}"
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
