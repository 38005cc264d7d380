"""Folds by group: all cases of a patient are in the same fold."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["grouped_folds"]


def grouped_folds(
    groups: Sequence[Hashable], labels: Sequence[int], folds: int = 5, seed: int = 0
) -> list[NDArray[np.int64]]:
    """Divide cases into folds by group, with nearly equal numbers of every class in each.

    Groups are taken in descending size (random order among equals); each goes to the fold where it keeps the
    classes most even, measured by the squared class counts of all folds, relative to the size of the class.

    Args:
        groups: for example the patient of each case.
        labels: class of each case.
        folds: number of folds.
        seed: order of equally large groups.

    Returns:
        Ascending case numbers of each fold; every case is in exactly one.

    Raises:
        ValueError: if the lengths differ, or there are fewer groups than folds.

    >>> patients = ["a", "a", "b", "b", "c", "c", "d", "d"]
    >>> [fold.tolist() for fold in grouped_folds(patients, labels=[0, 1] * 4, folds=2)]
    [[2, 3, 4, 5], [0, 1, 6, 7]]
    """
    if len(groups) != len(labels):
        raise ValueError(f"{len(groups)} groups but {len(labels)} labels; give one of each for every case")
    names = list(dict.fromkeys(groups))
    if not 2 <= folds <= len(names):
        raise ValueError(f"folds is {folds}, expected at least 2 and at most the number of groups, {len(names)}")
    group_of = np.array([{name: i for i, name in enumerate(names)}[g] for g in groups])
    classes, class_of = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group_of, class_of), 1)
    share = counts / counts.sum(axis=0)
    filled = np.zeros((folds, len(classes)))
    fold_of = np.zeros(len(names), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(names))
    for group in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        # Adding s to a fold raises its sum of squares by 2 f s + s^2; the second term is the same for every fold.
        fold = int((filled @ share[group]).argmin())
        filled[fold] += share[group]
        fold_of[group] = fold
    return [np.flatnonzero(fold_of[group_of] == fold) for fold in range(folds)]
