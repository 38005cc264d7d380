"""Small synthetic multi-frame (enhanced) CT files for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import EnhancedCTImageStorage

from tests.io._dicom_files import AXIAL, make_slice, stored_pixels


def item(**tags: Any) -> Dataset:
    """A data set of the given tags; those whose value is a dictionary become sequences of one such item."""
    data = Dataset()
    for keyword, value in tags.items():
        setattr(data, keyword, [item(**value)] if isinstance(value, dict) else value)
    return data


def make_enhanced(
    where: list[tuple[float, ...]],
    orientation: tuple[float, ...] = AXIAL,
    *,
    rescale: Callable[[int], tuple[float, float]] = lambda f: (1, -1024),
    frame_groups: Callable[[int], dict[str, Any]] = lambda f: {},
    shared: bool = True,
) -> FileDataset:
    """One multi-frame file; frame f shows ``stored_pixels(f)`` at ``where[f]``.

    Args:
        where: position of every frame.
        orientation: six cosines.
        rescale: slope and intercept of a frame.
        frame_groups: further functional groups of a frame, as nested dictionaries.
        shared: orientation and pixel measures in the shared groups (else in those of each frame).
    """
    data = make_slice(stored_pixels(0), where[0])
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(data, keyword)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.NumberOfFrames = len(where)
    data.PixelData = np.stack([stored_pixels(f) for f in range(len(where))]).tobytes()
    common = {
        "PlaneOrientationSequence": {"ImageOrientationPatient": list(orientation)},
        "PixelMeasuresSequence": {"PixelSpacing": [0.7, 0.6], "SliceThickness": 9.0},
    }
    data.SharedFunctionalGroupsSequence = [item(**(common if shared else {}))]
    data.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence={"ImagePositionPatient": list(position)},
            PixelValueTransformationSequence={
                "RescaleSlope": rescale(f)[0],
                "RescaleIntercept": rescale(f)[1],
                "RescaleType": "HU",
            },
            **({} if shared else common),
            **frame_groups(f),
        )
        for f, position in enumerate(where)
    ]
    return data


def write_enhanced(path: Path, where: list[tuple[float, ...]], *arguments: Any, **options: Any) -> Path:
    """Write `make_enhanced` to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make_enhanced(where, *arguments, **options).save_as(path, enforce_file_format=True)
    return path
