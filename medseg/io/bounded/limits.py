"""Limits that are checked in an image's header before memory is allocated for its voxels."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from medseg.geometry import Affine, decompose, spacing_of
from medseg.geometry.slice_stack import TILT_TOLERANCE_DEG
from medseg.io.bounded.errors import DataError, UnreadableFileError

__all__ = ["BUDGET_VARIABLE", "SPACING_RANGE_MM", "ReadLimits", "check_geometry", "check_sides", "oblique_axes_warning"]

BUDGET_VARIABLE = "MEDSEG_MAX_IMAGE_GIB"
"""Environment variable that sets the budget for the voxels of one image, in GiB."""

SPACING_RANGE_MM = (1e-3, 1e3)
"""Voxel spacings that are accepted: outside this range the header's unit or its contents are wrong."""

_GIB = 1024**3
_LARGEST_OFFSET_MM = 1e6
_FLATTEST = 1e-2  # volume spanned by the three unit axes: 1 if perpendicular, 0 if they lie in a plane


@dataclass(frozen=True)
class ReadLimits:
    """The largest image that a reader accepts.

    The defaults accept a micro-CT of 1504 x 1504 x 1500 int16 voxels (6.3 GiB).

    Attributes:
        max_bytes: bytes of all voxels in the stored type.
        max_voxels: number of voxels.
        max_side: voxels along any axis.
        max_ratio: voxel bytes for each byte of a compressed file. Deflate reaches at most 1032, so the default refuses
            only what the file cannot hold; a smaller value also refuses valid files of empty masks.
    """

    max_bytes: int = 16 * _GIB
    max_voxels: int = 8 * _GIB
    max_side: int = 32768
    max_ratio: float = 1040.0

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_voxels", "max_side", "max_ratio"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")

    @classmethod
    def from_environment(cls) -> ReadLimits:
        """The defaults, with the budget of ``MEDSEG_MAX_IMAGE_GIB`` if that is set (half as many voxels as bytes).

        Raises:
            DataError: if the variable is not a positive number.
        """
        text = os.environ.get(BUDGET_VARIABLE, "").strip()
        if not text:
            return cls()
        try:
            budget = float(text) * _GIB
        except ValueError:
            budget = math.nan
        if not 1 <= budget < 2**60:
            raise DataError(f"{BUDGET_VARIABLE} is {text!r}, expected a number of GiB such as 32")
        return cls(max_bytes=int(budget), max_voxels=max(1, int(budget) // 2))

    def check_shape(self, where: object, shape: Sequence[int], itemsize: int) -> int:
        """Refuse axes without voxels and axes that are too long.

        Args:
            where: what to name in the error, usually the path.
            shape: declared lengths of all axes.
            itemsize: bytes of a voxel.

        Returns:
            Bytes of all voxels.

        Raises:
            DataError: naming the shape.
        """
        sides = " x ".join(str(n) for n in shape)
        if not shape or min(shape) < 1:
            raise DataError(f"{where}: the header declares {sides or 'no'} voxels, expected at least 1 along each axis")
        if max(shape) > self.max_side:
            raise DataError(
                f"{where}: the header declares {sides} voxels, expected at most {self.max_side} along an axis; "
                "the header is damaged or this is not a volume"
            )
        return math.prod(int(n) for n in shape) * itemsize

    def check_size(self, where: object, shape: Sequence[int], itemsize: int, stored: int, compressed: bool) -> None:
        """Compare the declared voxels with the bytes that the file has for them, then with the budget.

        Args:
            where: what to name in the error.
            shape: lengths of all axes, which :meth:`check_shape` accepted.
            itemsize: bytes of a voxel.
            stored: bytes of the file from the first voxel on (of the whole file if the header is compressed too).
            compressed: whether those bytes are deflated.

        Raises:
            UnreadableFileError: if the file cannot hold the voxels.
            DataError: if they are more than the budget allows.
        """
        declared = math.prod(int(n) for n in shape) * itemsize
        if not compressed and stored < declared:
            raise UnreadableFileError(
                f"{where}: voxel data cannot be read (the header declares {declared} bytes of voxels, the file has "
                f"{max(stored, 0)}); the file may be cut off"
            )
        if compressed and declared > 4096 and declared > self.max_ratio * stored:
            raise UnreadableFileError(
                f"{where}: voxel data cannot be read (the header declares {declared} bytes of voxels, the compressed "
                f"file has {stored}, which is more than {self.max_ratio:g} to 1); the file may be cut off or made to "
                "exhaust memory"
            )
        self.check_budget(where, shape, itemsize)

    def check_budget(self, where: object, shape: Sequence[int], itemsize: int) -> None:
        """Compare the voxels with the budget.

        Args:
            where: what to name in the error.
            shape: lengths of all axes, which :meth:`check_shape` accepted.
            itemsize: bytes of a voxel.

        Raises:
            DataError: if they are more than the budget allows.
        """
        declared = math.prod(int(n) for n in shape) * itemsize
        if declared > self.max_bytes or declared // itemsize > self.max_voxels:
            raise DataError(
                f"{where}: the header declares {' x '.join(str(n) for n in shape)} voxels of {itemsize} byte(s) = "
                f"{_gib(declared)} GiB, expected at most {_gib(self.max_bytes)} GiB and {self.max_voxels} voxels; set "
                f"{BUDGET_VARIABLE} to read it anyway"
            )


def check_geometry(where: object, affine: ArrayLike, name: str = "affine") -> Affine:
    """Refuse an affine that cannot be the grid of a scan.

    Args:
        where: what to name in the error.
        affine: 4 x 4, voxel to mm.
        name: what the header calls it.

    Returns:
        The affine as float64.

    Raises:
        DataError: if it is not 4 x 4 finite numbers, its spacing lies outside ``SPACING_RANGE_MM``, its axes lie nearly
            in a plane, or its origin is more than a kilometre away.
    """
    try:
        matrix = np.asarray(affine, dtype=np.float64) + 0.0  # a copy without negative zeros
    except (TypeError, ValueError):
        raise DataError(f"{where}: the {name} is a {type(affine).__name__}, expected 4 x 4 numbers") from None
    if matrix.shape != (4, 4):
        raise DataError(f"{where}: the {name} has shape {matrix.shape}, expected 4 x 4 numbers")
    if not np.isfinite(matrix).all():
        raise DataError(f"{where}: the {name} holds values that are not finite numbers; the header is damaged")
    if not np.array_equal(matrix[3], (0, 0, 0, 1)):
        raise DataError(f"{where}: the last row of the {name} is {matrix[3].tolist()}, expected 0 0 0 1")
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    low, high = SPACING_RANGE_MM
    if spacing.min() < low or spacing.max() > high:
        text = " x ".join(f"{value:.4g}" for value in spacing)
        raise DataError(f"{where}: the {name} has a spacing of {text} mm, expected {low:g} to {high:g} along each axis")
    flatness = abs(float(np.linalg.det(matrix[:3, :3] / spacing)))
    if flatness < _FLATTEST:
        raise DataError(f"{where}: the {name} is not invertible: its axes lie in a plane (determinant {flatness:.2g})")
    if np.abs(matrix[:3, 3]).max() > _LARGEST_OFFSET_MM:
        raise DataError(
            f"{where}: the {name} puts the first voxel {np.abs(matrix[:3, 3]).max():.4g} mm from the origin, expected "
            f"at most {_LARGEST_OFFSET_MM:g}; the header is damaged"
        )
    return matrix


def check_sides(where: object, shape: Sequence[int]) -> None:
    """Refuse an image of a single slice.

    Args:
        where: the file, or "array", for the error.
        shape: voxels along each axis.

    Raises:
        DataError: if an axis has fewer than 2 voxels.

    >>> check_sides("scan.nii.gz", (512, 512, 1))
    Traceback (most recent call last):
        ...
    medseg.io.bounded.errors.DataError: scan.nii.gz: image has shape (512, 512, 1), expected at least 2 voxels ...
    """
    if min(shape) < 2:
        raise DataError(f"{where}: image has shape {tuple(shape)}, expected at least 2 voxels along each axis")


def oblique_axes_warning(affine: ArrayLike) -> str | None:
    """A warning about axes that are not perpendicular, or None if they are perpendicular."""
    shear = decompose(affine).shear_deg
    if shear <= TILT_TOLERANCE_DEG:
        return None
    return (
        f"the axes are {shear:.2f} degrees off perpendicular (a tilted gantry?); programs built on ITK refuse such "
        "files, resample to straight axes for them"
    )


def spacing_text(affine: ArrayLike) -> str:
    """Spacing in mm as text, such as ``"0.7 x 0.7 x 2.5"``."""
    return " x ".join(f"{value:.4g}" for value in spacing_of(affine))


def file_size(path: Path) -> int:
    """Size in bytes of a regular file.

    Raises:
        DataError: one line if the file is missing or cannot be accessed.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _gib(size: int) -> str:
    return f"{size / _GIB:.3g}"
