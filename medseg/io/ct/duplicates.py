"""Slices at one position compared pixel by pixel: copies, or different images at one position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.geometry.slice_stack import DUPLICATE_MM
from medseg.io.bounded.errors import SeriesGeometryError, shorten
from medseg.io.ct.header import SliceHeader
from medseg.io.ct.phases import compared_tags
from medseg.io.ct.pixels import SliceDecoder

__all__ = ["clusters", "differing_text", "refuse_different"]


class _Different(NamedTuple):
    """Slices at one position that are not copies, and their largest difference in HU."""

    headers: list[SliceHeader]
    most_hu: float


def clusters(along_mm: NDArray[np.float64]) -> list[list[int]]:
    """Indices of sorted slices by position: those closer than 0.01 mm to the one before share one."""
    starts = np.flatnonzero(np.concatenate([[True], np.diff(along_mm) >= DUPLICATE_MM]))
    return [list(range(int(a), int(b))) for a, b in zip(starts, [*starts[1:], len(along_mm)], strict=True)]


def differing_text(
    headers: Sequence[SliceHeader],
    along_mm: NDArray[np.float64],
    volume: NDArray[np.int16] | None = None,
    *,
    for_error: bool = False,
) -> str:
    """What to say of slices that share a position and are not copies, or "" where all have equal pixels.

    Args:
        headers: the slices, sorted.
        along_mm: their positions along the normal.
        volume: their voxels ``[i, j, slice]`` in HU; None decodes the slices that share a position, and no other.
        for_error: also name the first files, and say what to do.

    Raises:
        UnreadableFileError: if a slice to compare cannot be decoded.
    """
    shared = [cluster for cluster in clusters(along_mm) if len(cluster) > 1]
    different = list(_different(headers, shared, volume))
    if not different:
        return ""
    names = shorten((header.label for found in different for header in found.headers), 6) if for_error else ""
    remedy = "move the files of each set to a folder of their own, because " if for_error else ""
    return (
        f"at {len(different)} of {len(shared)} position(s) the pixels differ, by up to "
        f"{max(found.most_hu for found in different):g} HU{f' ({names})' if names else ''}, so these are different "
        f"images and no copies; {remedy}no tag parts them into complete sets (compared: {compared_tags(headers)})"
    )


def refuse_different(
    where: object,
    headers: Sequence[SliceHeader],
    along_mm: NDArray[np.float64],
    volume: NDArray[np.int16] | None = None,
) -> None:
    """Refuse slices that share a position and are not copies of each other.

    Args:
        where: folder or file, for the message.
        headers: see `differing_text`.
        along_mm: see `differing_text`.
        volume: see `differing_text`.

    Raises:
        SeriesGeometryError: naming how many differ, by how much, and the tags that were compared.
    """
    text = differing_text(headers, along_mm, volume, for_error=True)
    if text:
        raise SeriesGeometryError(f"{where}: {text}")


def _different(
    headers: Sequence[SliceHeader],
    shared: Sequence[Sequence[int]],
    volume: NDArray[np.int16] | None,
) -> Iterator[_Different]:
    decoder = SliceDecoder()
    for cluster in shared:
        first = _pixels(decoder, headers, cluster[0], volume).astype(np.int32)
        others = [_pixels(decoder, headers, index, volume) for index in cluster[1:]]
        most = max(float(np.abs(other - first).max(initial=0)) for other in others)
        if most > 0:
            yield _Different([headers[index] for index in cluster], most)


def _pixels(
    decoder: SliceDecoder, headers: Sequence[SliceHeader], index: int, volume: NDArray[np.int16] | None
) -> NDArray[np.int16]:
    return decoder.decode(headers[index]).hu if volume is None else volume[:, :, index]
