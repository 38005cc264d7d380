"""Accuracy, area under the ROC curve, and bootstrap intervals over patients or images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from benchmarks._study.intervals import Interval, group_draws, interval_of

RESAMPLES = 1000


class Predictions(NamedTuple):
    """Test outputs of one seed.

    Attributes:
        scores: logit of class 1 against class 0 for each case; above 0 predicts class 1.
        labels: 0 or 1 for each case.
        groups: what is drawn together, for each case; the same number in another seed is the same group.
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]


def predictions(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike) -> Predictions:
    """Predictions from plain lists, as they are stored."""
    return Predictions(np.asarray(scores, np.float64), np.asarray(labels, np.int64), np.asarray(groups, np.int64))


def accuracy(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Share of cases on the right side of 0."""
    return float(np.mean((scores > 0) == (labels == 1)))


def auc(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Area under the ROC curve (Mann-Whitney; ties count one half); NaN if one class is missing."""
    positives = labels == 1
    p, n = int(positives.sum()), int((~positives).sum())
    if not p or not n:
        return float("nan")
    return float((rankdata(scores)[positives].sum() - p * (p + 1) / 2) / (p * n))


METRICS = {"accuracy": accuracy, "AUC": auc}


def interval(seeds: Sequence[Predictions], metric: str, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """A metric, averaged over seeds, with its bootstrap interval.

    Groups are drawn with replacement from all groups of all seeds; a group drawn k times counts k times in every seed
    that tested it. The interval shows how far the result depends on the choice of test cases; the spread between seeds
    is reported beside it.
    """
    draws = group_draws([item.groups for item in seeds], resamples, seed)
    return interval_of(_mean(seeds, metric, None), [_mean(seeds, metric, cases) for cases in draws])


def difference(
    ours: Sequence[Predictions], theirs: Sequence[Predictions], metric: str, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """A metric of ours minus that of theirs on the same cases, with its paired bootstrap interval.

    Raises:
        ValueError: if the two were not tested on the same cases.
    """
    same = len(ours) == len(theirs) and all(
        np.array_equal(a.groups, b.groups) and np.array_equal(a.labels, b.labels)
        for a, b in zip(ours, theirs, strict=True)
    )
    if not same:
        raise ValueError("the two sets of predictions are of different cases; pair runs of the same seeds and data")

    def gain(cases: Sequence[NDArray[np.int64]] | None) -> float:
        return _mean(ours, metric, cases) - _mean(theirs, metric, cases)

    return interval_of(gain(None), [gain(cases) for cases in group_draws([o.groups for o in ours], resamples, seed)])


def _mean(seeds: Sequence[Predictions], metric: str, cases: Sequence[NDArray[np.int64]] | None) -> float:
    function = METRICS[metric]
    values = [
        function(item.scores, item.labels) if cases is None else function(item.scores[cases[i]], item.labels[cases[i]])
        for i, item in enumerate(seeds)
    ]
    return float(np.nanmean(values)) if not np.all(np.isnan(values)) else float("nan")
