"""Mean Dice over cases and seeds, with bootstrap intervals over both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks._study.intervals import Interval, crossed_weights, interval_of

RESAMPLES = 2000
Scores = Mapping[int, Mapping[str, float]]
"""Dice by seed and name of the case."""


def interval(scores: Scores) -> Interval:
    """Mean over all cases of all seeds.

    Seeds are drawn with replacement, and so are cases; a case that several seeds were tested on is drawn for all of
    them at once. The interval shows how far the result depends on the choice of cases and on the training runs.

    Raises:
        ValueError: without a score.
    """
    values, seed_of, case_of = _flat(scores)
    weights = crossed_weights(seed_of, case_of, RESAMPLES)
    return interval_of(values.mean(), (weights * values).sum(1) / weights.sum(1))


def difference(ours: Scores, theirs: Scores) -> Interval:
    """Ours minus theirs on the same cases of the same seeds.

    Raises:
        ValueError: if they have none in common.
    """
    common = {
        seed: {name: value - theirs[seed][name] for name, value in cases.items() if name in theirs[seed]}
        for seed, cases in ours.items()
        if seed in theirs
    }
    return interval(common)


def _flat(scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    rows = [(seed, name, value) for seed, cases in scores.items() for name, value in cases.items()]
    if not rows:
        raise ValueError("no scores to average; the two sets have no case in common, or none is finished")
    seeds, names, values = zip(*rows, strict=True)
    return (
        np.array(values, np.float64),
        np.unique(np.array(seeds), return_inverse=True)[1],
        np.unique(np.array(names), return_inverse=True)[1],
    )
