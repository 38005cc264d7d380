"""From the original slices of a repaired series to its grid, and the way back.

A repair moves slices within their planes (shear) or blends neighbours on an even grid (resample); see
`medseg.io.ct.repair`. Every original slice is parallel to the slices of the repaired grid and has the same pixels, so
the way back is a choice of the nearest repaired slice and a shift within its plane. What is left over is stated in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, apply_affine, flip_lps_ras

__all__ = ["RepairedGrid", "Residual", "repaired_grid"]


class Residual(NamedTuple):
    """How far a mask lies from where it was, after it was taken back to the original slices.

    Attributes:
        slices: number of original slices that hold a part of the mask.
        largest_mm: largest distance of a voxel.
        mean_mm: mean over these slices.
        outside: label voxels of the repaired grid that lie outside of the original images and are left out.
        between: slices of the repaired grid with labels that no original slice is nearest to, and that are left out.
    """

    slices: int
    largest_mm: float
    mean_mm: float
    outside: int
    between: int

    def describe(self) -> str:
        """One line for the terminal."""
        text = (
            f"taken back through the repair to {self.slices} original slice(s), at most {self.largest_mm:.3f} mm (mean "
            f"{self.mean_mm:.3f} mm) from the mask"
        )
        if self.outside:
            text += f"; {self.outside} label voxel(s) outside of the original images are left out"
        if self.between:
            text += f"; {self.between} filled slice(s) with labels lie between original ones and are left out"
        return text


class RepairedGrid(NamedTuple):
    """The grid of a repaired series, and where each original slice lies on it.

    Attributes:
        affine_ras: 4 x 4, voxel to RAS mm.
        shape: columns, rows, slices.
        size: columns and rows of the original slices.
        planes: slice of the grid that is nearest to each original slice, ``(n,)``.
        corners: column and row of the grid, with fractions, where each original slice's first pixel lies, ``(n, 2)``.
        heights: slice of the grid, with fractions, at which each original slice lies, ``(n,)``.
        off_mm: from the nearest slice of the grid to the original slice, along the normal, ``(n,)``.
        spacing_mm: distance of columns, then of rows.
    """

    affine_ras: Affine
    shape: tuple[int, int, int]
    size: tuple[int, int]
    planes: NDArray[np.int64]
    corners: NDArray[np.float64]
    heights: NDArray[np.float64]
    off_mm: NDArray[np.float64]
    spacing_mm: tuple[float, float]

    def on_slices(self, mask: NDArray[Any]) -> NDArray[Any]:
        """A mask of the grid on the original slices: the nearest voxel of each pixel, 0 outside of the grid.

        Args:
            mask: ``[i, j, k]`` or stacked ``[segment, i, j, k]`` on the grid.

        Returns:
            ``[..., column, row, original slice]``.
        """
        result = np.zeros((*mask.shape[:-3], *self.size, len(self.planes)), mask.dtype)
        for s, k in enumerate(self.planes):
            source, target = self._overlap(s)
            result[..., target[0], target[1], s] = mask[..., source[0], source[1], int(k)]
        return result

    def from_slices(self, box: NDArray[Any], start: tuple[int, int, int]) -> tuple[NDArray[Any], tuple[int, int, int]]:
        """A box of the original slices on the grid: each slice of the grid shows the original slice nearest to it.

        Args:
            box: ``[column, row, original slice]``.
            start: index of its first voxel.

        Returns:
            The box ``[i, j, k]`` and the index of its first voxel; without slices if none of the grid is nearest.
        """
        nearest = np.abs(self.heights[:, None] - np.arange(self.shape[2])).argmin(axis=0)
        ks = np.flatnonzero((nearest >= start[2]) & (nearest < start[2] + box.shape[2]))
        shifts = np.rint(self.corners[nearest[ks]]).astype(int)
        low = shifts.min(axis=0) if len(ks) else np.zeros(2, int)
        grown = np.ptp(shifts, axis=0) if len(ks) else low
        moved = np.zeros((box.shape[0] + grown[0], box.shape[1] + grown[1], len(ks)), box.dtype)
        for n, (i, j) in enumerate(shifts - low):
            moved[i : i + box.shape[0], j : j + box.shape[1], n] = box[:, :, nearest[ks[n]] - start[2]]
        return moved, (int(start[0] + low[0]), int(start[1] + low[1]), int(ks[0]) if len(ks) else 0)

    def slices_of(self, k: int) -> list[int]:
        """The original slices that a slice of the grid is nearest to."""
        return np.flatnonzero(self.planes == k).tolist()

    def residual(self, mask: NDArray[Any], kind: Literal["pixels", "contours"]) -> Residual:
        """What is left over when a mask is taken back.

        Args:
            mask: ``[i, j, k]`` or stacked ``[segment, i, j, k]`` on the grid.
            kind: "pixels" of the original slices, or "contours", which keep their place within the plane.
        """
        labels = (mask if mask.ndim == 3 else mask.any(axis=0)) != 0
        part = (self.corners - np.rint(self.corners)) * self.spacing_mm if kind == "pixels" else np.zeros((1, 2))
        distance = np.sqrt(self.off_mm**2 + (part**2).sum(axis=1))
        held = np.array([bool(labels[:, :, int(k)].any()) for k in self.planes])
        outside = 0
        for s in np.flatnonzero(held) if kind == "pixels" else ():
            plane = labels[:, :, int(self.planes[s])]
            outside += int(plane.sum()) - int(plane[self._overlap(int(s))[0]].sum())
        filled = np.setdiff1d(np.flatnonzero(labels.any(axis=(0, 1))), self.planes)
        found = distance[held] if held.any() else np.zeros(1)
        return Residual(int(held.sum()), float(found.max()), float(found.mean()), outside, len(filled))

    def _overlap(self, s: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where the pixels of an original slice lie on the grid, and which of its pixels these are."""
        source, target = [], []
        for corner, size, length in zip(np.rint(self.corners[s]).astype(int), self.size, self.shape[:2], strict=True):
            first, last = max(int(corner), 0), min(int(corner) + size, length)
            source.append(slice(first, max(first, last)))
            target.append(slice(first - int(corner), max(first, last) - int(corner)))
        return (source[0], source[1]), (target[0], target[1])


def repaired_grid(
    affine_ras: ArrayLike, shape: Sequence[int], positions_lps: ArrayLike, size: Sequence[int]
) -> RepairedGrid:
    """Find the original slices on the grid of a repaired series.

    Args:
        affine_ras: of the repaired grid ``[column, row, slice]``, whose first two axes are those of the slices.
        shape: of the repaired grid.
        positions_lps: ImagePositionPatient of the original slices, sorted, ``(n, 3)`` mm.
        size: columns and rows of the original slices.
    """
    affine = np.asarray(affine_ras, np.float64)
    places = flip_lps_ras(np.asarray(positions_lps, np.float64))
    found = apply_affine(np.linalg.inv(affine), places)
    planes = np.clip(np.rint(found[:, 2]), 0, shape[2] - 1).astype(np.int64)
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    on_plane = apply_affine(affine, np.column_stack([np.zeros((len(planes), 2)), planes]))
    off = (places - on_plane) @ normal
    # The foot of each slice's first pixel on the plane that was chosen, in pixels of that plane.
    feet = apply_affine(np.linalg.inv(affine), places - off[:, None] * normal)[:, :2]
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    return RepairedGrid(
        affine,
        (int(shape[0]), int(shape[1]), int(shape[2])),
        (int(size[0]), int(size[1])),
        planes,
        feet,
        found[:, 2],
        off,
        (float(spacing[0]), float(spacing[1])),
    )
