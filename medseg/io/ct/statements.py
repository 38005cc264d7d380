"""Warnings about headers that state one length twice and differently, with both values and which one is used.

The distance of slices is taken from positions, that of pixels from PixelSpacing, and in multi-frame files the frame's
own groups have priority over the shared ones. SliceThickness is not a distance: thick slices often overlap, so that
alone is not reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from medseg.geometry.slice_stack import DUPLICATE_MM, distinct_steps
from medseg.io.bounded.errors import DataError
from medseg.io.ct.header import SliceHeader

__all__ = ["agrees", "header_contradictions"]

_FRACTION = 0.01
_FLOOR_MM = 0.011  # positions are often written with two decimals
_GAP_SHARE = 0.9


def agrees(stated_mm: float, found_mm: float) -> bool:
    """True if two lengths are the same within 1 % or 0.011 mm, since positions are rounded in files."""
    return abs(stated_mm - found_mm) <= max(_FRACTION * found_mm, _FLOOR_MM)


def header_contradictions(
    headers: Sequence[SliceHeader], positions_lps: NDArray[np.float64], normal: NDArray[np.float64]
) -> list[str]:
    """One line with both values for each length that the headers of one volume state in two ways that disagree.

    Args:
        headers: the slices, sorted by position.
        positions_lps: ImagePositionPatient of every slice, ``(n, 3)`` mm.
        normal: unit normal of the slices.
    """
    notes = list(_pixel_spacings(headers))
    along = positions_lps @ normal
    single = np.concatenate([[True], np.diff(along) >= DUPLICATE_MM])
    if single.sum() > 1:
        notes += _slice_distances(headers, positions_lps[single], along[single])
    found: dict[str, list[str]] = {}
    for header in headers:
        for text in header.contradictions:
            found.setdefault(text.partition(" ")[0], []).append(text)
    return notes + [f"{len(texts)} of {len(headers)} frames: {texts[0]}" for texts in found.values()]


def _slice_distances(
    headers: Sequence[SliceHeader], positions: NDArray[np.float64], along: NDArray[np.float64]
) -> Iterator[str]:
    steps = distinct_steps(along)
    advances = [float(np.linalg.norm(step)) for step in np.diff(positions, axis=0)]  # of a tilted gantry, the table's
    found = " / ".join(f"{step:g}" for step in steps[:3]) + (" / ..." if len(steps) > 3 else "")
    for stated in _lengths(headers, "SpacingBetweenSlices"):
        if not any(agrees(abs(stated), step) for step in (*steps, *advances)):
            times = steps[0] / abs(stated)
            thinned = round(times) > 1 and abs(times - round(times)) < 0.02
            lost = f" ({times:.0f} times as far: are slices left out?)" if thinned else ""
            yield (
                f"SpacingBetweenSlices is {stated:g} mm, but the positions are {found} mm apart{lost}; the positions "
                "are used"
            )
    for stated in _lengths(headers, "SliceThickness"):
        if len(steps) == 1 and stated < _GAP_SHARE * steps[0]:
            yield (
                f"SliceThickness is {stated:g} mm, but the positions are {found} mm apart, so {steps[0] - stated:.3g} "
                "mm between slices are in no image; the positions are used"
            )


def _pixel_spacings(headers: Sequence[SliceHeader]) -> Iterator[str]:
    """PixelSpacing against the spacing at the detector or the scanned film; it is calibrated, so it is used."""
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = {
            (other, own)
            for header in headers
            if (other := _pair(header, keyword)) is not None and (own := _pair(header, "PixelSpacing")) is not None
        }
        for other, own in sorted(found):
            if not all(agrees(a, b) for a, b in zip(other, own, strict=True)):
                yield (
                    f"{keyword} is {other[0]:g} x {other[1]:g} mm, but PixelSpacing is {own[0]:g} x {own[1]:g} mm; "
                    "PixelSpacing is used"
                )


def _lengths(headers: Sequence[SliceHeader], keyword: str) -> list[float]:
    """The different values of a length in mm that is not 0, in order of appearance; what cannot be read is left out."""
    found: dict[float, None] = {}
    for header in headers:
        try:
            if header.get(keyword) is not None:
                found.setdefault(header.numbers(keyword, 1)[0])
        except DataError:
            continue
    return [value for value in found if value != 0]


def _pair(header: SliceHeader, keyword: str) -> tuple[float, float] | None:
    try:
        first, second = header.numbers(keyword, 2)
    except DataError:
        return None
    return first, second
