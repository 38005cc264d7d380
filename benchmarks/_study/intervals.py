"""Bootstrap intervals: what is drawn in each resample, and the interval of the resampled means.

Two schemes, because two questions differ. `group_draws` draws test cases alone: the interval says how far the result
depends on the choice of test cases. `crossed_weights` draws seeds and cases: the interval says how far it depends on
both the choice of cases and the training runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Interval(NamedTuple):
    """A mean with the 2.5 and 97.5 percentiles of its bootstrap distribution."""

    mean: float
    low: float
    high: float


def interval_of(mean: float, resampled: ArrayLike) -> Interval:
    """The interval of a mean from the same mean of every resample; resamples without a value (NaN) do not count."""
    low, high = np.nanpercentile(np.asarray(resampled), [2.5, 97.5])
    return Interval(float(mean), float(low), float(high))


def group_draws(groups: Sequence[NDArray[np.int64]], resamples: int, seed: int = 0) -> list[list[NDArray[np.int64]]]:
    """Case numbers drawn for every resample and seed of training.

    Groups are drawn with replacement from all groups of all seeds. A group that is drawn k times counts k times in
    every seed that tested it.

    Args:
        groups: for each seed of training, the group of every case; the same number in another seed is the same group.
        resamples: how many.
        seed: of the draws.
    """
    all_groups = np.unique(np.concatenate(groups))
    places = [np.searchsorted(all_groups, item) for item in groups]
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(resamples):
        counts = np.bincount(rng.integers(0, len(all_groups), len(all_groups)), minlength=len(all_groups))
        result.append([np.repeat(np.arange(len(place)), counts[place]) for place in places])
    return result


def crossed_weights(
    seed_of: NDArray[np.int64], case_of: NDArray[np.int64], resamples: int, seed: int = 0
) -> NDArray[np.float64]:
    """How often every score counts in each resample, ``[resamples, scores]``.

    Seeds of training are drawn with replacement, and so are cases; a case that several seeds were tested on is drawn
    for all of them at once. A resample without any score is drawn again.

    Args:
        seed_of: for every score the number of its seed of training, from 0.
        case_of: for every score the number of its case, from 0.
        resamples: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)

    def draw(count: int) -> NDArray[np.float64]:
        parts = [rng.multinomial(n, np.full(n, 1 / n), count) for n in (seed_of.max() + 1, case_of.max() + 1)]
        return np.asarray(parts[0][:, seed_of] * parts[1][:, case_of], np.float64)

    result = draw(resamples)
    while len(empty := np.nonzero(~result.any(1))[0]):
        result[empty] = draw(len(empty))
    return result
