"""Voxels that are not finite numbers: found, named with their place, refused or filled. One rule for every entrance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.bounded.errors import DataError

__all__ = ["AIR_HU", "ON_NONFINITE", "NonFinite", "check_fill_value", "find_nonfinite", "settle_nonfinite"]

ON_NONFINITE = ("refuse", "fill")
"""What can be done: raise an error, or replace the voxels by one value."""
AIR_HU = -1024.0
"""The value that voxels are filled with unless another is stated: air in HU."""


class NonFinite(NamedTuple):
    """The voxels of an image that are NaN or infinite.

    Attributes:
        voxels: how many there are.
        total: voxels of the whole image.
        first: index of the first one, last axis fastest.

    >>> NonFinite(2, 60, (0, 4, 1)).describe()
    '2 of 60 voxels are not finite (NaN or infinite), the first at index [0, 4, 1] (i, j, k)'
    """

    voxels: int
    total: int
    first: tuple[int, ...]

    def describe(self, axes: str = "i, j, k") -> str:
        """Count and first position in words.

        Args:
            axes: what the numbers of the index stand for.
        """
        return (
            f"{self.voxels} of {self.total} voxels are not finite (NaN or infinite), the first at index "
            f"{list(self.first)} ({axes})"
        )

    def record(self, fill_value: float) -> dict[str, Any]:
        """What is kept in a report about voxels that were filled."""
        return {"voxels": self.voxels, "first": list(self.first), "filled_with": fill_value}


def find_nonfinite(array: NDArray[Any]) -> NonFinite | None:
    """The voxels that are NaN or infinite; None if there are none.

    Args:
        array: numbers of any type and shape; whole numbers are finite and are not looked at.

    >>> find_nonfinite(np.array([[1.0, np.nan], [np.inf, 2.0]]))
    NonFinite(voxels=2, total=4, first=(0, 1))
    """
    if array.dtype.kind not in "fc":
        return None
    # A sum shows every NaN and infinity, and needs no volume of flags; if it only overflows, the flags decide.
    with np.errstate(all="ignore"):
        if array.dtype.kind == "f" and np.isfinite(array.sum(dtype=np.float64)):
            return None
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if not count:
        return None
    first = np.unravel_index(int(bad.argmax()), bad.shape)
    return NonFinite(count, array.size, tuple(int(index) for index in first))


def check_fill_value(value: float, name: str = "fill_value") -> float:
    """The value as float.

    Args:
        value: what voxels are to be filled with.
        name: the argument or option, for the error.

    Raises:
        ValueError: if it is not finite.

    >>> check_fill_value(-1000)
    -1000.0
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}; expected a finite number, such as {AIR_HU:g}")
    return float(value)


def settle_nonfinite(
    array: NDArray[Any], where: object, on_nonfinite: str = "refuse", fill_value: float = AIR_HU, remedy: str = ""
) -> tuple[NDArray[Any], NonFinite | None]:
    """Refuse or fill voxels that are NaN or infinite.

    Args:
        array: voxels ``[i, j, k]``; never changed.
        where: the file or argument, for the error.
        on_nonfinite: ``"refuse"`` raises an error; ``"fill"`` replaces the voxels by ``fill_value``.
        fill_value: finite value in the image's unit.
        remedy: the option with which the caller's user can fill them, such as ``--on-nonfinite fill``; empty if there
            is none.

    Returns:
        The array itself and None, or a filled copy and what was found.

    Raises:
        DataError: for ``"refuse"``, one line with file, count and first position; and if no voxel at all is finite.
        ValueError: for another word, or a fill value that is not finite.

    >>> image = np.array([[[np.nan, 40.0]]], np.float32)
    >>> filled, found = settle_nonfinite(image, "scan.nii.gz", "fill")
    >>> filled.tolist(), found.voxels
    ([[[-1024.0, 40.0]]], 1)
    >>> settle_nonfinite(image, "scan.nii.gz")
    Traceback (most recent call last):
        ...
    medseg.io.bounded.errors.DataError: scan.nii.gz: 1 of 2 voxels are not finite (NaN or infinite), ...
    """
    if on_nonfinite not in ON_NONFINITE:
        raise ValueError(f"on_nonfinite is {on_nonfinite!r}; expected one of {', '.join(ON_NONFINITE)}")
    fill_value = check_fill_value(fill_value)
    found = find_nonfinite(array)
    if found is None:
        return array, None
    if found.voxels == found.total:
        raise DataError(f"{where}: no voxel holds a finite value; expected Hounsfield units")
    if on_nonfinite == "refuse":
        way_out = f", or give {remedy}, which puts {fill_value:g} there" if remedy else ""
        raise DataError(f"{where}: {found.describe()}; mend the file{way_out}")
    return np.where(np.isfinite(array), array, array.dtype.type(fill_value)), found
