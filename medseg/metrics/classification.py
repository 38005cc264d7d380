"""Scores of a two-class decision: accuracy, and the area under the ROC curve with its interval after DeLong."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["AucDifference", "AucInterval", "BinaryScores", "auc_difference", "auc_interval", "binary_scores"]


class AucInterval(NamedTuple):
    """Area under the ROC curve.

    Attributes:
        auc: share of pairs of a positive and a negative in which the positive has the higher score; ties count half.
            NaN without a positive or without a negative.
        low: lower end of the interval, within [0, 1].
        high: upper end.
        variance: of the area, after DeLong; NaN with fewer than two positives or negatives.
        positives: number of them.
        negatives: number of them.

    >>> AucInterval(0.9, 0.85, 0.94, 0.0005, 40, 60).positives
    40
    """

    auc: float
    low: float
    high: float
    variance: float
    positives: int
    negatives: int


class AucDifference(NamedTuple):
    """Difference of two areas that were measured with the same items.

    Attributes:
        difference: first minus second.
        low: lower end of its interval.
        high: upper end.
        p_value: two-sided, of the hypothesis that both areas are equal; NaN where the variance is 0 or unknown.

    >>> AucDifference(0.02, -0.01, 0.05, 0.2).p_value
    0.2
    """

    difference: float
    low: float
    high: float
    p_value: float


class BinaryScores(NamedTuple):
    """Scores at a threshold; a share of nothing is NaN.

    Attributes:
        accuracy: share of right decisions.
        balanced_accuracy: mean of sensitivity and specificity.
        sensitivity: share of the positives that are called positive.
        specificity: share of the negatives that are called negative.
        precision: share of the items called positive that are.

    >>> BinaryScores(0.9, 0.9, 0.8, 1.0, 1.0).sensitivity
    0.8
    """

    accuracy: float
    balanced_accuracy: float
    sensitivity: float
    specificity: float
    precision: float


def binary_scores(probabilities: ArrayLike, labels: ArrayLike, threshold: float = 0.5) -> BinaryScores:
    """Accuracy, sensitivity, specificity and precision of calling everything from a threshold on positive.

    Args:
        probabilities: score of every item, higher for positives.
        labels: 0 or 1 for every item.
        threshold: the smallest score that is called positive.

    Raises:
        ValueError: for no items, other labels, or scores that are not finite.

    >>> binary_scores([0.9, 0.6, 0.4, 0.1], [1, 0, 1, 0]).accuracy
    0.5
    """
    scores, positive = checked_items(probabilities, labels)
    called = scores >= threshold
    right = int(np.count_nonzero(called & positive))
    sensitivity = _share(right, int(positive.sum()))
    specificity = _share(int(np.count_nonzero(~called & ~positive)), int((~positive).sum()))
    return BinaryScores(
        accuracy=float((called == positive).mean()),
        balanced_accuracy=(sensitivity + specificity) / 2,
        sensitivity=sensitivity,
        specificity=specificity,
        precision=_share(right, int(called.sum())),
    )


def auc_interval(scores: ArrayLike, labels: ArrayLike, level: float = 0.95) -> AucInterval:
    """Area under the ROC curve with the interval of DeLong et al. (Biometrics 1988), normal and cut to [0, 1].

    The interval takes the items as independent. Nodules of one patient are not: `bootstrap_interval` draws patients.
    With perfect separation the variance is 0 and the interval a point, which says nothing about the next data set.

    Args:
        scores: of every item, higher for positives.
        labels: 0 or 1 for every item.
        level: of the interval, above 0 and below 1.

    Raises:
        ValueError: as `binary_scores`, and for another level.

    >>> found = auc_interval([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> found.auc, found.high
    (0.75, 1.0)
    """
    values, positive = checked_items(scores, labels)
    area, over_positives, over_negatives = _placements(values, positive)
    variance = _variance(over_positives, over_positives) / max(len(over_positives), 1)
    variance += _variance(over_negatives, over_negatives) / max(len(over_negatives), 1)
    low, high = _normal_interval(area, variance, level)
    ends = [float("nan") if math.isnan(end) else min(max(end, 0.0), 1.0) for end in (low, high)]
    return AucInterval(area, ends[0], ends[1], variance, len(over_positives), len(over_negatives))


def auc_difference(first: ArrayLike, second: ArrayLike, labels: ArrayLike, level: float = 0.95) -> AucDifference:
    """Difference of the areas of two scores of the same items, with DeLong's interval and test.

    Args:
        first: scores of one method for every item.
        second: scores of the other.
        labels: 0 or 1 for every item.
        level: of the interval.

    Raises:
        ValueError: as `auc_interval`.

    >>> auc_difference([0.1, 0.4, 0.35, 0.8], [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]).difference
    -0.25
    """
    a, positive = checked_items(first, labels)
    b, _ = checked_items(second, labels)
    area_a, positives_a, negatives_a = _placements(a, positive)
    area_b, positives_b, negatives_b = _placements(b, positive)
    variance = sum(
        (_variance(x, x) + _variance(y, y) - 2 * _variance(x, y)) / max(len(x), 1)
        for x, y in ((positives_a, positives_b), (negatives_a, negatives_b))
    )
    difference = area_a - area_b
    low, high = _normal_interval(difference, variance, level)
    p_value = float("nan")
    if variance > 0:
        p_value = math.erfc(abs(difference) / math.sqrt(2 * variance))
    return AucDifference(difference, low, high, p_value)


def checked_items(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and labels of items.

    Raises:
        ValueError: for no items, different numbers of them, labels other than 0 and 1, or scores that are not finite.
    """
    values, truth = np.asarray(scores, np.float64).ravel(), np.asarray(labels).ravel()
    if len(values) != len(truth) or not len(values):
        raise ValueError(f"there are {len(values)} scores and {len(truth)} labels, expected one of each for every item")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"labels hold {truth[~np.isin(truth, (0, 1))][0]}, expected 0 and 1")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite, expected numbers")
    return values, truth.astype(bool)


def _placements(
    scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The area, and for every positive and negative the share of the others that it is on the right side of.

    By ranks (Sun and Xu, IEEE Signal Processing Letters 2014): the time grows as that of sorting.
    """
    from scipy.stats import rankdata

    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        return float("nan"), np.full(len(above), np.nan), np.full(len(below), np.nan)
    ranks = rankdata(np.concatenate([above, below]))
    m = len(above)
    over_positives = (ranks[:m] - rankdata(above)) / len(below)
    over_negatives = 1 - (ranks[m:] - rankdata(below)) / m
    return float(over_positives.mean()), over_positives, over_negatives


def _variance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Covariance with the divisor n - 1; NaN for fewer than two values."""
    if len(a) < 2:
        return float("nan")
    return float(((a - a.mean()) * (b - b.mean())).sum() / (len(a) - 1))


def _normal_interval(value: float, variance: float, level: float) -> tuple[float, float]:
    from scipy.special import ndtri

    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected above 0 and below 1")
    half = float(ndtri(0.5 + level / 2)) * math.sqrt(max(variance, 0.0) if not math.isnan(variance) else variance)
    return value - half, value + half


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
