"""A segmentation against several readers, with the agreement of the readers themselves in the same table.

A consensus that holds a reader agrees with this reader more than with anybody else. So a reader is compared with the
consensus of the *others* (leave one out), and so is the prediction: these two rows can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.metrics.bootstrap import Interval, bootstrap_mean
from medseg.metrics.overlap import dice_score, foreground_pair

__all__ = ["COMPARISONS", "ReaderCase", "half_consensus", "reader_case", "reader_table"]

COMPARISONS = {
    "prediction_consensus": "prediction against the consensus of all readers",
    "prediction_reader": "prediction against every reader",
    "reader_reader": "reader against every other reader",
    "prediction_others": "prediction against the consensus of all readers but one",
    "reader_others": "reader against the consensus of the other readers (human ceiling)",
}
"""What is compared, by the name of the field of `ReaderCase`."""

Consensus = Callable[[Sequence[NDArray[np.bool_]]], NDArray[np.bool_]]


class ReaderCase(NamedTuple):
    """Dice of one nodule, mean over readers or pairs of readers; NaN where there are too few readers.

    Attributes:
        prediction_consensus: prediction against the consensus of all readers.
        prediction_reader: prediction against every reader.
        reader_reader: every reader against every other one; of at least two readers.
        prediction_others: prediction against the consensus of all readers but one; of at least two.
        reader_others: the reader that was left out against the same consensus; of at least two.
        readers: number of readers.

    >>> one, two = np.array([1, 1, 1, 0]), np.array([0, 1, 1, 1])
    >>> reader_case(one, [one, two]).readers
    2
    """

    prediction_consensus: float
    prediction_reader: float
    reader_reader: float
    prediction_others: float
    reader_others: float
    readers: int


def half_consensus(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Voxels that at least half of the readers marked.

    >>> half_consensus([np.array([True, True]), np.array([True, False]), np.array([False, False])]).tolist()
    [True, False]
    """
    return np.asarray(2 * np.sum(np.asarray(masks, np.int32), axis=0) >= len(masks))


def reader_case(
    prediction: ArrayLike, readers: Sequence[ArrayLike], consensus: Consensus = half_consensus
) -> ReaderCase:
    """Compare a prediction with readers, and the readers with one another.

    Dice is 1 if both masks are empty. A consensus can be empty where the readers do not overlap.

    Args:
        prediction: mask; values above 0 are the nodule.
        readers: a mask of every reader who marked it, of the same shape.
        consensus: makes one mask of several.

    Raises:
        ValueError: without a reader, for other shapes, and for values that are not whole.

    >>> one, two = np.array([1, 1, 1, 0]), np.array([0, 1, 1, 1])
    >>> round(reader_case(one, [one, two]).reader_others, 3)
    0.667
    """
    if not len(readers):
        raise ValueError("there is no reader, expected at least one")
    pairs = [foreground_pair(prediction, reader) for reader in readers]
    mask, masks = pairs[0][0], [reader for _, reader in pairs]
    others = [consensus(masks[:i] + masks[i + 1 :]) for i in range(len(masks))] if len(masks) > 1 else []
    return ReaderCase(
        prediction_consensus=dice_score(mask, consensus(masks)),
        prediction_reader=_mean([dice_score(mask, reader) for reader in masks]),
        reader_reader=_mean([dice_score(a, b) for a, b in combinations(masks, 2)]),
        prediction_others=_mean([dice_score(mask, rest) for rest in others]),
        reader_others=_mean([dice_score(own, rest) for own, rest in zip(masks, others, strict=False)]),
        readers=len(masks),
    )


def reader_table(
    cases: Sequence[ReaderCase], patients: Sequence[Hashable] | None = None, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Mean Dice of every comparison with its bootstrap interval by patient.

    Args:
        cases: at least one. Nodules of one reader have no value in three of the rows: compare rows over nodules of at
            least two.
        patients: of every case; None takes every case as a patient.
        resamples: of the bootstrap.
        seed: of the draws.

    Returns:
        An interval for every key of ``COMPARISONS``.

    >>> one, two = np.array([1, 1, 1, 0]), np.array([0, 1, 1, 1])
    >>> table = reader_table([reader_case(one, [one, two])])
    >>> round(table["prediction_reader"].value, 3), table["reader_others"].items
    (0.833, 1)
    """
    if not cases:
        raise ValueError("there is no case, expected at least one")
    return {
        name: bootstrap_mean([getattr(case, name) for case in cases], patients, resamples, seed=seed)
        for name in COMPARISONS
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
