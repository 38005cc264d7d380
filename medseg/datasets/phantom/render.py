"""From an ordered list of painted parts to Hounsfield units and organ labels on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.datasets.phantom.grid import Grid, Sampled, sample_shape
from medseg.datasets.phantom.shapes import Floats, Shape, Waves

__all__ = ["AIR_HU", "Part", "Rendered", "render"]

AIR_HU = -1000.0


@dataclass(frozen=True)
class Part:
    """One painted shape; later parts cover earlier ones.

    Attributes:
        shape: where.
        hu: Hounsfield units painted, or None to leave the image as it is.
        organ: label written at voxel centres inside the shape, or None to leave the labels as they are.
        rim_mm: width of the soft rim; the HU blend linearly into what is below from ``-rim/2`` to ``+rim/2`` around the
            surface. The label's border stays at the surface, where the blend is one half.
        texture: HU added to the organ's voxels, as a function of the position in mm.
    """

    shape: Shape
    hu: float | None
    organ: int | None
    rim_mm: float = 0.0
    texture: Waves | None = None


class Rendered(NamedTuple):
    """HU (float32) and organ labels (uint8), both ``[i, j, k]``, before blur and noise."""

    hu: Floats
    organs: NDArray[np.uint8]


def render(parts: Sequence[Part], grid: Grid, supersample: int = 2) -> Rendered:
    """Paint parts on a grid with partial volume.

    Every voxel that a surface may cross is sampled at ``supersample ** 3`` evenly spaced points, and gets the mean of
    the HU found there; the others are sampled at their centre. Labels are sampled at voxel centres.

    Args:
        parts: bottom first.
        grid: the target grid.
        supersample: points per voxel and axis; 1 gives no partial volume.

    Raises:
        ValueError: if ``supersample`` is below 1.
    """
    if supersample < 1:
        raise ValueError(f"supersample is {supersample}, expected an integer of at least 1")
    hu = np.full(grid.shape, AIR_HU, np.float32)
    organs = np.zeros(grid.shape, np.uint8)
    border = np.zeros(grid.shape, bool)
    seen: list[tuple[Part, Sampled]] = []
    for part in parts:
        sampled = sample_shape(part.shape, grid, part.rim_mm / 2.0)
        if sampled is None:
            continue
        if part.organ is not None:
            organs[sampled.box][sampled.inside] = part.organ
        if part.hu is not None:
            hu[sampled.box][sampled.inside] = part.hu
            border[sampled.box] |= sampled.near
            seen.append((part, sampled))
    _refine(hu, border, seen, grid, supersample)
    for part, sampled in seen:
        if part.texture is not None and part.organ is not None:
            mask = organs[sampled.box] == part.organ
            hu[sampled.box][mask] += _wave_field(part.texture, grid, sampled)[mask]
    return Rendered(hu, organs)


def _refine(
    hu: Floats, border: NDArray[np.bool_], seen: list[tuple[Part, Sampled]], grid: Grid, supersample: int
) -> None:
    """Replace the HU of all border voxels by the mean over their sub-voxel points."""
    row_of = np.full(grid.shape, -1, np.int32)
    count = int(border.sum())
    row_of[border] = np.arange(count, dtype=np.int32)
    steps = []
    for part, sampled in seen:
        rows = row_of[sampled.box]
        full = rows[sampled.inside & ~sampled.near]
        index = np.nonzero(sampled.near)
        points = grid.positions([axis + s.start for axis, s in zip(index, sampled.box, strict=True)])
        steps.append((part, full[full >= 0], rows[index], points))
    ticks = (np.arange(supersample) + 0.5) / supersample - 0.5
    total = np.zeros(count, np.float32)
    for offset in np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3):
        shift = (grid.affine_ras[:3, :3] @ offset).astype(np.float32)[:, None]
        sample = np.full(count, AIR_HU, np.float32)
        for part, full, rows, points in steps:
            value = np.float32(part.hu if part.hu is not None else AIR_HU)
            sample[full] = value
            weight = _coverage(part.shape.signed(points + shift), part.rim_mm)
            below = sample[rows]
            sample[rows] = below + weight * (value - below)
        total += sample
    hu[border] = total / np.float32(supersample**3)


def _coverage(signed: Floats, rim_mm: float) -> Floats:
    if rim_mm <= 0:
        return (signed <= 0).astype(np.float32)
    return np.clip(np.float32(0.5) - signed / np.float32(rim_mm), 0.0, 1.0)


def _wave_field(waves: Waves, grid: Grid, sampled: Sampled) -> Floats:
    """Sum of plane waves on a box: the phase is linear in the indices, so each wave is an outer product."""
    size = tuple(s.stop - s.start for s in sampled.box)
    total = np.zeros(size, np.float32)
    first = grid.affine_ras[:3, :3] @ [s.start for s in sampled.box] + grid.affine_ras[:3, 3]
    for vector, phase, amplitude in zip(waves.vectors, waves.phases, waves.amplitudes, strict=True):
        per_index = vector @ grid.affine_ras[:3, :3]
        rates = zip(per_index, size, strict=True)
        i, j, k = (np.exp(1j * rate * np.arange(n)).astype(np.complex64) for rate, n in rates)
        plane = np.complex64(amplitude * np.exp(1j * (phase + vector @ first))) * i[:, None] * j
        total += plane.real[..., None] * k.real - plane.imag[..., None] * k.imag
    return total
