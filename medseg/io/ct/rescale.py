"""RescaleSlope and RescaleIntercept of slices whose header lacks them, as the user states them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from medseg.io.bounded.errors import DataError
from medseg.io.ct.groups import SeriesEntry
from medseg.io.ct.header import SliceHeader

__all__ = ["Rescale", "StatedRescale", "state_rescale"]

_KEYWORDS = ("RescaleSlope", "RescaleIntercept")


class Rescale(NamedTuple):
    """How stored values become Hounsfield units: ``slope * value + intercept``."""

    slope: float
    intercept: float


class StatedRescale(NamedTuple):
    """What was stated for the slices that say nothing themselves.

    Attributes:
        rescale: the statement.
        slices: for how many slices it was used.
        others: what the other slices of the series say, each once, ascending.
    """

    rescale: Rescale
    slices: int
    others: tuple[Rescale, ...]

    def describe(self, total: int) -> str:
        """The statement in one line, for the warnings of a series of ``total`` slices."""
        others = ", ".join(f"slope {slope:g} and intercept {intercept:g}" for slope, intercept in self.others)
        return (
            f"RescaleSlope or RescaleIntercept is absent in {self.slices} of {total} slices: slope "
            f"{self.rescale.slope:g} and intercept {self.rescale.intercept:g} as stated (--assume-rescale)"
            + (f"; the other slices have {others}" if others else "")
        )

    def record(self) -> dict[str, float | int]:
        """The statement as JSON values."""
        return {**self.rescale._asdict(), "slices": self.slices}


def state_rescale(entry: SeriesEntry, rescale: Rescale | None) -> tuple[SeriesEntry, StatedRescale | None]:
    """Give the slices of a series that lack slope or intercept what the user states; present values are never replaced.

    Args:
        entry: the series.
        rescale: the statement; None leaves the series as it is.

    Returns:
        The series, and what was stated; None if no slice needed it.

    Raises:
        DataError: for a slope of 0, or numbers that are not finite.
    """
    if rescale is None:
        return entry, None
    if not (math.isfinite(rescale.slope) and math.isfinite(rescale.intercept) and rescale.slope != 0):
        raise DataError(
            f"the stated slope is {rescale.slope:g} and the intercept {rescale.intercept:g}, expected two finite "
            "numbers and a slope other than 0"
        )
    lacking = [any(header.get(keyword) is None for keyword in _KEYWORDS) for header in entry.headers]
    if not any(lacking):
        return entry, None
    headers = tuple(
        _filled(header, rescale) if lacks else header for header, lacks in zip(entry.headers, lacking, strict=True)
    )
    stated = (header for header, lacks in zip(entry.headers, lacking, strict=True) if not lacks)
    others = {Rescale(*(header.numbers(keyword, 1)[0] for keyword in _KEYWORDS)) for header in stated}
    return replace(entry, headers=headers), StatedRescale(rescale, sum(lacking), tuple(sorted(others)))


def _filled(header: SliceHeader, rescale: Rescale) -> SliceHeader:
    given = dict(zip(_KEYWORDS, rescale, strict=True))
    absent = {keyword: value for keyword, value in given.items() if header.get(keyword) is None}
    return replace(header, values={**header.values, **absent})
