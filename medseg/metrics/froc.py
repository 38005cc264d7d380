"""Detection by marks with scores: the FROC curve and the CPM as LUNA16 defines them.

Source: Setio et al., Validation, comparison, and combination of algorithms for automatic detection of pulmonary nodules
in computed tomography images: the LUNA16 challenge, Medical Image Analysis 2017, and its evaluation script:

* a mark hits a nodule if it lies nearer to its centre than its radius. It can hit several nodules.
* a nodule is found with the highest score among its marks; the others count neither as hits nor as false positives.
* marks that hit an excluded finding (fewer than three readers, or no size) and no nodule are ignored. A finding whose
  diameter is negative has one of 10 mm.
* every other mark is a false positive. Nodules without a mark are missed at every threshold.
* between the thresholds the curve is interpolated linearly; it begins at no mark at all. CPM is the mean sensitivity at
  1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan.
* the interval draws scans with replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.metrics.bootstrap import Interval, bootstrap_interval

__all__ = ["LUNA16_RATES", "Froc", "FrocFinding", "FrocMark", "froc"]

LUNA16_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives a scan at which LUNA16 reads the sensitivity."""

_UNSIZED_MM = 10.0


class FrocMark(NamedTuple):
    """A place that a method marks.

    Attributes:
        scan: which scan, such as its SeriesInstanceUID.
        centre_mm: x, y, z in the world of the scan, mm; the same frame as the findings (LUNA16: LPS).
        score: higher for more certain marks.

    >>> FrocMark("1.2.3", (-42.0, 10.5, -120.0), score=0.9).score
    0.9
    """

    scan: str
    centre_mm: tuple[float, float, float]
    score: float


class FrocFinding(NamedTuple):
    """A nodule, or a finding that is to be ignored.

    Attributes:
        scan: which scan.
        centre_mm: x, y, z in the frame of the marks, mm.
        diameter_mm: a negative one stands for 10 mm.

    >>> FrocFinding("1.2.3", (-42.0, 10.5, -120.0), diameter_mm=6.4).diameter_mm
    6.4
    """

    scan: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float


class Froc(NamedTuple):
    """A FROC curve.

    Attributes:
        fp_per_scan: false positives a scan at every threshold, rising from 0.
        sensitivity: share of the nodules that were found there; NaN without a nodule.
        thresholds: the scores; infinity at the first point.
        rates: false positives a scan at which the sensitivity is read.
        sensitivity_at: the sensitivities there, each with its interval.
        cpm: their mean with its interval.
        nodules: number of nodules.
        found: nodules that any mark hit.
        false_positives: marks that hit nothing.
        ignored: marks that hit an excluded finding, or a nodule that a higher score found.
        scans: number of scans.

    >>> found = froc([FrocMark("a", (1, 0, 0), 0.9)], [FrocFinding("a", (0, 0, 0), 8.0)], scans=["a"])
    >>> found.found, found.false_positives
    (1, 0)
    """

    fp_per_scan: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    rates: tuple[float, ...]
    sensitivity_at: tuple[Interval, ...]
    cpm: Interval
    nodules: int
    found: int
    false_positives: int
    ignored: int
    scans: int


class _Scan(NamedTuple):
    hits: list[float]  # the highest score of every nodule that was found
    false: list[float]
    nodules: int
    ignored: int


def froc(
    marks: Sequence[FrocMark],
    nodules: Sequence[FrocFinding],
    scans: Sequence[str],
    excluded: Sequence[FrocFinding] = (),
    rates: Sequence[float] = LUNA16_RATES,
    resamples: int = 1000,
    seed: int = 0,
) -> Froc:
    """The FROC curve of marks, and the CPM with its bootstrap interval.

    Args:
        marks: of all scans, in any order.
        nodules: that are to be found.
        scans: every scan that was read, also those without a mark or a nodule; they are the divisor of the rates.
        excluded: findings on which a mark is neither right nor wrong.
        rates: false positives a scan at which the sensitivity is read.
        resamples: draws of scans; 0 gives intervals of NaN.
        seed: of the draws.

    Raises:
        ValueError: if there is no scan or no rate, a scan is named twice, a mark or finding belongs to no scan of the
            list, or a number is not finite.

    >>> nodules = [FrocFinding("a", (0, 0, 0), 8.0), FrocFinding("b", (50, 0, 0), 8.0)]
    >>> marks = [FrocMark("a", (1, 0, 0), 0.9), FrocMark("a", (30, 0, 0), 0.5), FrocMark("b", (51, 0, 0), 0.1)]
    >>> found = froc(marks, nodules, scans=["a", "b"])
    >>> found.sensitivity.tolist(), found.fp_per_scan.tolist()
    ([0.0, 0.5, 0.5, 1.0], [0.0, 0.0, 0.5, 0.5])
    """
    _check(marks, nodules, scans, excluded, rates)
    read = [_read_scan(*parts) for parts in _by_scan(marks, nodules, excluded, scans)]
    values, intervals = _sensitivities(read, rates, resamples, seed)
    fp, sensitivity, thresholds = _curve(read)
    with_cpm = [Interval(v, *ends, len(read)) for v, ends in zip(values, intervals, strict=True)]
    return Froc(
        fp_per_scan=fp,
        sensitivity=sensitivity,
        thresholds=thresholds,
        rates=tuple(rates),
        sensitivity_at=tuple(with_cpm[:-1]),
        cpm=with_cpm[-1],
        nodules=sum(scan.nodules for scan in read),
        found=sum(len(scan.hits) for scan in read),
        false_positives=sum(len(scan.false) for scan in read),
        ignored=sum(scan.ignored for scan in read),
        scans=len(read),
    )


def _sensitivities(
    read: Sequence[_Scan], rates: Sequence[float], resamples: int, seed: int
) -> tuple[list[float], list[tuple[float, float]]]:
    """Sensitivity at every rate, then their mean; and the ends of their intervals, all from the same draws."""

    def at_rates(items: NDArray[np.intp]) -> NDArray[np.float64]:
        fp, sensitivity, _ = _curve([read[i] for i in items])
        found = np.interp(rates, fp, sensitivity)
        return np.append(found, found.mean())

    drawn: list[NDArray[np.float64]] = []

    def keep(items: NDArray[np.intp]) -> float:
        drawn.append(at_rates(items))
        return 0.0

    values = at_rates(np.arange(len(read)))
    if not resamples:
        return values.tolist(), [(float("nan"), float("nan"))] * len(values)
    bootstrap_interval(keep, range(len(read)), resamples, seed=seed)
    table = np.array(drawn[:resamples])  # the last call is that of the scans as they are
    table = table[~np.isnan(table[:, -1])]
    if not len(table):
        return values.tolist(), [(float("nan"), float("nan"))] * len(values)
    low, high = np.percentile(table, [2.5, 97.5], axis=0)
    return values.tolist(), list(zip(low.tolist(), high.tolist(), strict=True))


_Parts = tuple[list[FrocMark], list[FrocFinding], list[FrocFinding]]


def _by_scan(
    marks: Sequence[FrocMark], nodules: Sequence[FrocFinding], excluded: Sequence[FrocFinding], scans: Sequence[str]
) -> list[_Parts]:
    found: dict[str, _Parts] = {scan: ([], [], []) for scan in scans}
    for mark in marks:
        found[mark.scan][0].append(mark)
    for number, findings in ((1, nodules), (2, excluded)):
        for finding in findings:
            found[finding.scan][number].append(finding)  # type: ignore[arg-type]
    return list(found.values())


def _read_scan(marks: list[FrocMark], nodules: list[FrocFinding], excluded: list[FrocFinding]) -> _Scan:
    """What the marks of one scan are."""
    centres = np.array([mark.centre_mm for mark in marks], np.float64).reshape(-1, 3)
    scores = np.array([mark.score for mark in marks], np.float64)
    used = np.zeros(len(marks), bool)
    hits = []
    for finding, counts in [*((item, True) for item in nodules), *((item, False) for item in excluded)]:
        radius = (finding.diameter_mm if finding.diameter_mm >= 0 else _UNSIZED_MM) / 2
        near = np.square(centres - np.array(finding.centre_mm)).sum(axis=1) < radius**2
        if counts and near.any():
            hits.append(float(scores[near].max()))
        used |= near
    return _Scan(hits, scores[~used].tolist(), len(nodules), max(int(used.sum()) - len(hits), 0))


def _curve(scans: Sequence[_Scan]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    hits = np.sort(np.array([score for scan in scans for score in scan.hits]))
    false = np.sort(np.array([score for scan in scans for score in scan.false]))
    nodules = sum(scan.nodules for scan in scans)
    thresholds = np.unique(np.concatenate([hits, false]))[::-1]
    fp = len(false) - np.searchsorted(false, thresholds)
    right = len(hits) - np.searchsorted(hits, thresholds)
    sensitivity = np.concatenate([[0], right]) / nodules if nodules else np.full(len(thresholds) + 1, np.nan)
    return np.concatenate([[0], fp]) / len(scans), sensitivity, np.concatenate([[np.inf], thresholds])


def _check(
    marks: Sequence[FrocMark],
    nodules: Sequence[FrocFinding],
    scans: Sequence[str],
    excluded: Sequence[FrocFinding],
    rates: Sequence[float],
) -> None:
    known = set(scans)
    if not known or len(known) != len(scans):
        raise ValueError(f"scans names {len(scans)} scan(s), {len(known)} different, expected at least one, each once")
    if not len(rates) or not all(rate > 0 for rate in rates):
        raise ValueError(f"rates is {list(rates)}, expected positive numbers")
    groups: list[tuple[str, Sequence[FrocMark | FrocFinding]]]
    groups = [("mark", marks), ("nodule", nodules), ("excluded finding", excluded)]
    for what, items in groups:
        for number, item in enumerate(items):
            if item.scan not in known:
                raise ValueError(f"{what} {number} belongs to a scan that scans does not name: {item.scan}")
            if not np.isfinite([*item.centre_mm, item[2]]).all():
                raise ValueError(f"{what} {number} holds a number that is not finite")
