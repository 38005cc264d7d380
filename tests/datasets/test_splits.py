from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.datasets.splits import grouped_folds


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=40, max_size=120),
    st.integers(2, 5),
    st.integers(0, 9),
)
def test_every_case_is_in_one_fold_and_every_group_too(cases: list[tuple[int, int]], folds: int, seed: int) -> None:
    groups, labels = [g for g, _ in cases], [label for _, label in cases]
    if len(set(groups)) < folds:
        return
    found = grouped_folds(groups, labels, folds, seed)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(cases)))
    parts = [{groups[i] for i in fold} for fold in found]
    assert sum(len(part) for part in parts) == len(set(groups))


def test_classes_are_spread_evenly_where_groups_allow_it() -> None:
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 300, 600).tolist()
    labels = (rng.random(600) < 0.2).astype(int).tolist()
    counts = np.array([np.bincount(np.array(labels)[fold], minlength=2) for fold in grouped_folds(groups, labels)])
    assert np.ptp(counts[:, 0]) <= 4
    assert np.ptp(counts[:, 1]) <= 2


def test_the_seed_alone_decides() -> None:
    groups, labels = list(range(50)), [i % 2 for i in range(50)]
    first, again, other = (grouped_folds(groups, labels, 5, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_impossible_requests_name_the_numbers() -> None:
    with pytest.raises(ValueError, match="3 groups but 2 labels"):
        grouped_folds(["a", "b", "c"], [0, 1])
    with pytest.raises(ValueError, match="at most the number of groups, 2"):
        grouped_folds(["a", "b", "a"], [0, 1, 0], folds=3)
