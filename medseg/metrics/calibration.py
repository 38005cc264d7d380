"""Calibration of probabilities: Brier score, reliability table, expected calibration error."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medseg.metrics.classification import checked_items

__all__ = ["ReliabilityBin", "brier_score", "expected_calibration_error", "reliability_table"]


class ReliabilityBin(NamedTuple):
    """Items whose probabilities lie in one range.

    Attributes:
        low: lower end of the range; it belongs to the bin.
        high: upper end; it belongs to the next bin, in the last bin to this one.
        items: number of them.
        mean_probability: of these items; NaN if there is none.
        observed_share: share of positives among them; NaN if there is none.

    >>> ReliabilityBin(0.0, 0.1, 12, 0.05, 0.0).items
    12
    """

    low: float
    high: float
    items: int
    mean_probability: float
    observed_share: float


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared difference of probability and outcome, 0 to 1; 0 is best.

    Args:
        probabilities: of the positive class, in [0, 1].
        labels: 0 or 1 for every item.

    Raises:
        ValueError: for no items, other labels, or probabilities outside [0, 1].

    >>> brier_score([0.5, 1.0], [1, 1])
    0.125
    """
    scores, positive = checked_items(probabilities, labels)
    _check_range(scores)
    return float(np.square(scores - positive).mean())


def reliability_table(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 10, spacing: Literal["uniform", "quantile"] = "uniform"
) -> list[ReliabilityBin]:
    """How often items of a probability are positive, by ranges of the probability.

    Args:
        probabilities: of the positive class, in [0, 1].
        labels: 0 or 1 for every item.
        bins: number of ranges.
        spacing: "uniform" ranges of equal width; "quantile" ranges of about equally many items. Equal ends of quantiles
            make one bin, so that there may be fewer.

    Raises:
        ValueError: as `brier_score`, and for other numbers of bins or spacings.

    >>> [row.items for row in reliability_table([0.1, 0.2, 0.9, 1.0], [0, 0, 1, 1], bins=2)]
    [2, 2]
    """
    scores, positive = checked_items(probabilities, labels)
    _check_range(scores)
    if bins < 1:
        raise ValueError(f"bins is {bins}, expected at least 1")
    if spacing not in ("uniform", "quantile"):
        raise ValueError(f"spacing is {spacing!r}, expected 'uniform' or 'quantile'")
    edges = np.arange(bins + 1) / bins
    if spacing == "quantile":
        inner = np.quantile(scores, edges[1:-1])
        edges = np.unique(np.concatenate([[0.0], inner, [1.0]]))
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for number, (low, high) in enumerate(pairwise(edges)):
        mine = place == number
        count = int(mine.sum())
        means = (float(scores[mine].mean()), float(positive[mine].mean())) if count else (float("nan"), float("nan"))
        rows.append(ReliabilityBin(float(low), float(high), count, *means))
    return rows


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 10, spacing: Literal["uniform", "quantile"] = "uniform"
) -> float:
    """Mean distance of mean probability and observed share over the bins, weighted by their items (ECE).

    Of the probability of the positive class, not of the more likely class: both are called ECE. It depends on the bins;
    compare only values of the same bins.

    Args:
        probabilities: as `reliability_table`.
        labels: as `reliability_table`.
        bins: as `reliability_table`.
        spacing: as `reliability_table`.

    Raises:
        ValueError: as `reliability_table`.

    >>> round(expected_calibration_error([0.25, 0.25, 0.75, 0.75], [0, 0, 1, 1]), 6)
    0.25
    """
    rows = [row for row in reliability_table(probabilities, labels, bins, spacing) if row.items]
    total = sum(row.items for row in rows)
    return sum(row.items * abs(row.mean_probability - row.observed_share) for row in rows) / total


def _check_range(scores: np.ndarray) -> None:
    if scores.min() < 0 or scores.max() > 1:
        wrong = scores.min() if scores.min() < 0 else scores.max()
        raise ValueError(f"a probability is {wrong:g}, expected 0 to 1")
