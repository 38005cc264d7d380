"""A smooth synthetic body sampled where slices lie: the analytic truth for repaired geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.io._dicom_files import make_slice

CENTRE = np.array([8.0, 9.0, 30.0])
WIDTH_MM = 9.0
PEAK = 1200.0
SHAPE = (40, 36)  # rows, columns
SPACING = (0.9, 0.8)  # between rows, between columns


def truth(points_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hounsfield units of a Gaussian ball on water at points ``(..., 3)``, LPS mm."""
    square = ((points_lps - CENTRE) ** 2).sum(axis=-1)
    return PEAK * np.exp(-square / (2 * WIDTH_MM**2))


def largest_bend() -> float:
    """Upper bound in HU / mm^2 of every second derivative of the ball."""
    return PEAK / WIDTH_MM**2


def tilted(degrees: float) -> tuple[float, ...]:
    """Direction cosines of slices tilted about the row direction."""
    angle = np.radians(degrees)
    return (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle)))


def plane_points(
    position: NDArray[np.float64], orientation: tuple[float, ...], shape: tuple[int, int] = SHAPE
) -> NDArray[np.float64]:
    """Centres of the pixels ``[row, column]`` of one slice, LPS mm."""
    row, column = np.indices(shape)
    x, y = np.array(orientation[:3]), np.array(orientation[3:])
    return position + column[..., None] * SPACING[1] * x + row[..., None] * SPACING[0] * y


def write_phantom(folder: Path, z: list[float], degrees: float = 0.0, **tags: Any) -> list[Path]:
    """Write the ball on slices at the given table positions of a gantry tilted by so many degrees; see `make_slice`."""
    folder.mkdir(parents=True, exist_ok=True)
    orientation = tilted(degrees)
    paths = []
    for k, height in enumerate(z):
        position = np.array([-6.0, -8.0, height])
        stored = np.rint(truth(plane_points(position, orientation)) + 1024).astype(np.int16)
        data = make_slice(stored, tuple(position.tolist()), orientation, SPACING, k + 1, **tags)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
        paths.append(folder / f"{k:03d}.dcm")
        data.save_as(paths[-1], enforce_file_format=True)
    return paths
