"""Bootstrap intervals that draw whole patients, for one result and for the difference of two."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Interval", "PairedDifference", "bootstrap_interval", "bootstrap_mean", "paired_difference"]


class Interval(NamedTuple):
    """A value with its percentile interval.

    Attributes:
        value: of the items as they are.
        low: lower end; NaN where no resample has a value.
        high: upper end.
        items: that have a value.

    >>> Interval(0.8, 0.7, 0.9, 20).high
    0.9
    """

    value: float
    low: float
    high: float
    items: int


class PairedDifference(NamedTuple):
    """Mean difference of two results for the same cases.

    Attributes:
        difference: mean of first minus second over the cases that both have a value for.
        low: lower end of the percentile interval.
        high: upper end.
        p_value: two-sided bootstrap test: twice the smaller share of resamples on either side of 0, at most 1.
        cases: that were compared.
        groups: patients among them.
        better: cases in which the first is larger.
        worse: cases in which it is smaller.

    >>> paired_difference([0.9, 0.8, 0.7], [0.8, 0.7, 0.6]).worse
    0
    """

    difference: float
    low: float
    high: float
    p_value: float
    cases: int
    groups: int
    better: int
    worse: int


def bootstrap_mean(
    values: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of values and its bootstrap interval; patients are drawn with all their values.

    Args:
        values: one for every case; NaN is left out.
        groups: the patient of every case; None takes every case as a patient.
        resamples: how many.
        level: of the interval.
        seed: of the draws.

    Raises:
        ValueError: for other lengths, fewer than one resample, or another level.

    >>> bootstrap_mean([0.5, 0.5, float("nan")])
    Interval(value=0.5, low=0.5, high=0.5, items=2)
    """
    sums, counts = _by_group(np.asarray(values, np.float64), groups)
    _check(resamples, level)
    if not counts.sum():
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    means = _resampled_means(sums, counts, resamples, seed)
    low, high = _ends(means, level)
    return Interval(float(sums.sum() / counts.sum()), low, high, int(counts.sum()))


def bootstrap_interval(
    statistic: Callable[[NDArray[np.intp]], float],
    groups: Sequence[Hashable],
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A statistic of items and its bootstrap interval; patients are drawn with all their items.

    Args:
        statistic: takes the numbers of the items, some of them several times, and gives a number or NaN.
        groups: the patient of every item.
        resamples: how many.
        level: of the interval.
        seed: of the draws.

    Raises:
        ValueError: for no items, fewer than one resample, or another level.

    >>> scores = np.array([1.0, 2.0, 3.0, 4.0])
    >>> found = bootstrap_interval(lambda items: scores[items].mean(), groups=["a", "a", "b", "b"])
    >>> found.value, found.low, found.high
    (2.5, 1.5, 3.5)
    """
    _check(resamples, level)
    if not len(groups):
        raise ValueError("there is no item, expected at least one")
    number = _numbers(groups)
    members = [np.nonzero(number == group)[0] for group in range(number.max() + 1)]
    rng = np.random.default_rng(seed)
    found = [
        statistic(np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))]))
        for _ in range(resamples)
    ]
    low, high = _ends(np.asarray(found, np.float64), level)
    return Interval(float(statistic(np.arange(len(groups)))), low, high, len(groups))


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Compare two results case by case; patients are drawn with all their cases.

    Args:
        first: value of every case; NaN where it has none.
        second: the same of the other result, in the same order.
        groups: the patient of every case; None takes every case as a patient.
        resamples: how many.
        level: of the interval.
        seed: of the draws.

    Raises:
        ValueError: for other lengths, fewer than one resample, or another level.

    >>> found = paired_difference([0.9, 0.8, 0.7], [0.8, 0.7, 0.6])
    >>> round(found.difference, 6), round(found.low, 6), found.better
    (0.1, 0.1, 3)
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"the results have shapes {a.shape} and {b.shape}, expected one value of each for every case")
    _check(resamples, level)
    difference = a - b
    sums, counts = _by_group(difference, groups)
    known = difference[~np.isnan(difference)]
    if not len(known):
        nan = float("nan")
        return PairedDifference(nan, nan, nan, nan, 0, 0, 0, 0)
    means = _resampled_means(sums, counts, resamples, seed)
    means = means[~np.isnan(means)]
    low, high = _ends(means, level)
    tail = min(float((means <= 0).mean()), float((means >= 0).mean()))
    return PairedDifference(
        difference=float(known.mean()),
        low=low,
        high=high,
        p_value=min(1.0, max(2 * tail, 1 / resamples)),  # no bootstrap shows less than one in all its resamples
        cases=len(known),
        groups=int(np.count_nonzero(counts)),
        better=int((known > 0).sum()),
        worse=int((known < 0).sum()),
    )


def _by_group(
    values: NDArray[np.float64], groups: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the known values of every group."""
    if values.ndim != 1 or (groups is not None and len(groups) != len(values)):
        raise ValueError(
            f"values have shape {values.shape} and there are {0 if groups is None else len(groups)} groups, expected "
            "one group for every value"
        )
    number = np.arange(len(values)) if groups is None else _numbers(groups)
    known = ~np.isnan(values)
    size = int(number.max(initial=-1)) + 1
    return (
        np.bincount(number[known], values[known], minlength=size).astype(np.float64),
        np.bincount(number[known], minlength=size).astype(np.float64),
    )


def _numbers(groups: Sequence[Hashable]) -> NDArray[np.intp]:
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(group, len(known)) for group in groups], np.intp)


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], resamples: int, seed: int
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    size = len(sums)
    weights = rng.multinomial(size, np.full(size, 1 / size), resamples).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ sums) / (weights @ counts))


def _ends(resampled: NDArray[np.float64], level: float) -> tuple[float, float]:
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def _check(resamples: int, level: float) -> None:
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected above 0 and below 1")
