"""Orientation letters of the array axes, in both of the conventions that files use."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CodeConvention", "codes_to_direction", "direction_to_codes", "switch_code_convention"]

CodeConvention = Literal["to", "from"]
"""What a letter means: the side *to* which an axis runs (nibabel, MONAI, NRRD, 3D Slicer: "LPS") or the side *from*
which it comes (ITK-SNAP and MetaImage's AnatomicalOrientation: "RAI" for the same axes)."""

_AXIS_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
_OPPOSITE = {letter: other for pair in _AXIS_LETTERS for letter, other in (pair, pair[::-1])}


def switch_code_convention(codes: str) -> str:
    """The same axes in the other convention: "RAI" of the "from" convention is "LPS" of the "to" convention.

    Args:
        codes: three letters naming three different axes, in either convention.

    Raises:
        ValueError: for letters that do not name three different axes.
    """
    codes_to_direction(codes)
    return "".join(_OPPOSITE[letter] for letter in codes)


def direction_to_codes(direction_ras: ArrayLike, convention: CodeConvention = "to") -> tuple[str, str, str]:
    """Letters of the array axes, e.g. ``("R", "A", "S")``.

    Every array axis gets the letter of the world axis it is closest to, each world axis being used once: the closest
    pair is taken first. An oblique volume with two axes that lean to the same side therefore gets three letters too.

    Args:
        direction_ras: 3 x 3 matrix whose columns are the directions of the array axes in RAS.
        convention: whether the letters say where the axes run to or where they come from.

    Raises:
        ValueError: for an unknown convention.
    """
    _check_convention(convention)
    direction = np.asarray(direction_ras, dtype=np.float64)
    letters = ["", "", ""]
    free_world, free_array = {0, 1, 2}, {0, 1, 2}
    while free_array:
        world, axis = max(((w, a) for w in free_world for a in free_array), key=lambda wa: abs(direction[wa]))
        letters[axis] = _AXIS_LETTERS[world][int(direction[world, axis] > 0)]
        free_world.remove(world)
        free_array.remove(axis)
    if convention == "from":
        letters = [_OPPOSITE[letter] for letter in letters]
    return (letters[0], letters[1], letters[2])


def codes_to_direction(codes: str, convention: CodeConvention = "to") -> NDArray[np.float64]:
    """The 3 x 3 matrix of unit columns, in RAS, of array axes named by three letters such as ``"LPS"``.

    Raises:
        ValueError: for letters that do not name three different axes, or an unknown convention.
    """
    _check_convention(convention)
    columns = np.zeros((3, 3))
    for axis, letter in enumerate(codes):
        for world, (negative, positive) in enumerate(_AXIS_LETTERS):
            if axis < 3 and letter in (negative, positive):
                columns[world, axis] = 1.0 if letter == positive else -1.0
    if len(codes) != 3 or abs(np.linalg.det(columns)) != 1.0:
        raise ValueError(f"orientation {codes!r} does not name three different axes, e.g. 'RAS' or 'LPS'")
    return columns if convention == "to" else 0.0 - columns


def _check_convention(convention: str) -> None:
    if convention not in get_args(CodeConvention):
        raise ValueError(f"convention is {convention!r}, expected 'to' (as nibabel) or 'from' (as ITK-SNAP)")
