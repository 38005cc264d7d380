"""The three anatomical planes of a volume as a radiologist reads them: which pixels, which letters on the edges.

Display follows the radiological convention: axial and coronal planes show the patient's right on the left of the image;
axial planes have anterior at the top, coronal and sagittal ones superior; sagittal planes have anterior on the left.
Arrays are only transposed and flipped, never resampled, so an oblique grid is shown along its own axes, and every
letter names the closest patient axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, direction_of, foreground_box, orientation_codes, spacing_of

__all__ = [
    "EdgeLetters",
    "Plane",
    "anatomical_planes",
    "axial_planes",
    "coronal_projection",
    "display_view",
    "largest_sections",
    "obliquity_degrees",
    "slices_with_most",
]

# Directions towards which columns, rows and slices of the displayed view run.
_VIEW_CODES = ("L", "P", "I")
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
# Name, axis of the view that is cut, axis shown as rows, axis shown as columns.
_PLANES = (("axial", 2, 1, 0), ("coronal", 1, 2, 0), ("sagittal", 0, 2, 1))


@dataclass(frozen=True)
class EdgeLetters:
    """Patient directions at the four edges of a displayed plane, each one of R, L, A, P, S, I."""

    left: str
    right: str
    top: str
    bottom: str


@dataclass(frozen=True)
class Plane:
    """One displayed plane.

    Attributes:
        name: ``axial``, ``coronal`` or ``sagittal``.
        image: pixels ``[row, column]``, first row at the top, first column on the left (a view of the volume).
        mask: labels on the same pixels.
        spacing_mm: distance of rows and of columns.
        letters: patient directions at the edges.
        axis: axis of the stored array that is cut.
        index: voxel index along that axis, counted from 0.
        count: number of voxels along that axis.
        projected: the pixels are maxima along that axis, not a slice; ``index`` has no meaning.
    """

    name: str
    image: NDArray[Any]
    mask: NDArray[Any]
    spacing_mm: tuple[float, float]
    letters: EdgeLetters
    axis: int
    index: int
    count: int
    projected: bool = False


def display_view(array: NDArray[Any], affine_ras: ArrayLike) -> tuple[NDArray[Any], Affine, tuple[int, int, int]]:
    """Reorder and flip axes, without copying, so that they run towards Left, Posterior, Inferior.

    Args:
        array: voxels ``[i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.

    Returns:
        The view, its own RAS affine, and for each axis of the view the axis of ``array`` that it comes from.
    """
    codes = orientation_codes(affine_ras)
    source = np.asarray(affine_ras, dtype=np.float64)
    affine, order, flips = source.copy(), [], []
    for target, code in enumerate(_VIEW_CODES):
        axis = next(a for a, letter in enumerate(codes) if letter in (code, _OPPOSITE[code]))
        flipped = codes[axis] != code
        affine[:3, target] = -source[:3, axis] if flipped else source[:3, axis]
        if flipped:
            affine[:3, 3] += source[:3, axis] * (array.shape[axis] - 1)
        order.append(axis)
        flips.append(slice(None, None, -1) if flipped else slice(None))
    return array.transpose(order)[tuple(flips)], affine, (order[0], order[1], order[2])


def obliquity_degrees(affine_ras: ArrayLike) -> float:
    """Largest angle in degrees between an array axis and the patient axis that its letter names."""
    direction = direction_of(affine_ras)
    world = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    cosines = [abs(direction[world[letter], axis]) for axis, letter in enumerate(orientation_codes(affine_ras))]
    return float(np.degrees(np.arccos(np.clip(min(cosines), -1.0, 1.0))))


def largest_sections(inside: NDArray[np.bool_]) -> tuple[int, int, int]:
    """For each axis the index of the slice with most voxels (the middle one of equals); the middle if none is set."""
    box = foreground_box(inside)
    if box is None:
        return (inside.shape[0] // 2, inside.shape[1] // 2, inside.shape[2] // 2)
    found = []
    for axis in range(3):
        counts = np.count_nonzero(inside[box], axis=tuple({0, 1, 2} - {axis}))
        best = np.flatnonzero(counts == counts.max())
        found.append(box[axis].start + int(best[len(best) // 2]))
    return (found[0], found[1], found[2])


def anatomical_planes(
    image: NDArray[Any], mask: NDArray[Any], affine_ras: ArrayLike, label: int | None = None
) -> tuple[Plane, Plane, Plane]:
    """Axial, coronal and sagittal plane through the largest cross-sections of a mask.

    Args:
        image: voxels ``[i, j, k]``.
        mask: labels on the same grid.
        affine_ras: 4 x 4, voxel to RAS mm, of both.
        label: the class whose sections are sought; ``None`` takes all classes together. If it is empty, the planes pass
            through the middle of the image.
    """
    labels, _, _ = display_view(mask, affine_ras)
    indices = largest_sections(labels != 0 if label is None else labels == label)
    axial, coronal, sagittal = (_cut(image, mask, affine_ras, n, indices[_PLANES[n][1]]) for n in range(3))
    return axial, coronal, sagittal


def axial_planes(
    image: NDArray[Any], mask: NDArray[Any], affine_ras: ArrayLike, indices: Sequence[int]
) -> tuple[Plane, ...]:
    """Axial planes at indices of the displayed view, which counts from the head to the feet."""
    return tuple(_cut(image, mask, affine_ras, 0, index) for index in indices)


def coronal_projection(image: NDArray[Any], mask: NDArray[Any], affine_ras: ArrayLike) -> Plane:
    """The coronal plane of the highest value, and of the highest label, along each line from front to back (MIP)."""
    view, _, _ = display_view(image, affine_ras)
    labels, _, _ = display_view(mask, affine_ras)
    plane = _cut(image, mask, affine_ras, 1, 0)
    return replace(plane, name="coronal MIP", image=view.max(axis=1).T, mask=labels.max(axis=1).T, projected=True)


def slices_with_most(inside: NDArray[np.bool_], count: int, apart: int, taken: Sequence[int] = ()) -> list[int]:
    """Slices along the last axis with most voxels, in their order, each at least ``apart`` from the others and from
    those that are ``taken`` already.

    >>> inside = np.zeros((4, 4, 9), bool)
    >>> inside[1, 1, 1:4] = inside[1:3, 1:3, 2] = inside[0, 0, 7] = True
    >>> slices_with_most(inside, 2, apart=2)
    [2, 7]
    """
    areas = np.zeros(inside.shape[2], np.int64)
    box = foreground_box(inside)
    if box is not None:
        areas[box[2]] = np.count_nonzero(inside[box], axis=(0, 1))
    chosen: list[int] = []
    for index in np.argsort(-areas, kind="stable"):
        if len(chosen) == count or areas[index] == 0:
            break
        if all(abs(int(index) - other) >= apart for other in (*taken, *chosen)):
            chosen.append(int(index))
    return sorted(chosen)


def _cut(image: NDArray[Any], mask: NDArray[Any], affine_ras: ArrayLike, which: int, index: int) -> Plane:
    """One of `_PLANES` at an index of the displayed view."""
    view, affine, order = display_view(image, affine_ras)
    labels, _, _ = display_view(mask, affine_ras)
    spacing, codes, stored = spacing_of(affine), orientation_codes(affine), orientation_codes(affine_ras)
    name, cut, rows, columns = _PLANES[which]
    place: list[int | slice] = [slice(None)] * 3
    place[cut] = index
    axis, count = order[cut], image.shape[order[cut]]
    return Plane(
        name=name,
        # The remaining axes keep their order (columns before rows), so a transpose makes [row, column].
        image=view[tuple(place)].T,
        mask=labels[tuple(place)].T,
        spacing_mm=(float(spacing[rows]), float(spacing[columns])),
        letters=EdgeLetters(_OPPOSITE[codes[columns]], codes[columns], _OPPOSITE[codes[rows]], codes[rows]),
        axis=axis,
        index=index if stored[axis] == codes[cut] else count - 1 - index,
        count=count,
    )
