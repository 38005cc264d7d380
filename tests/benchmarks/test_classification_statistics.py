"""Accuracy, area under the curve and bootstrap intervals of the classification study."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import compute_roc_auc

from benchmarks._classification.statistics import Predictions, accuracy, auc, difference, interval, predictions


def _case(seed: int, count: int = 60, skill: float = 1.0) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    scores = rng.normal(size=count).round(1) + skill * (labels - 0.5)
    return predictions(scores, labels, np.arange(count) + 1000 * seed)


@pytest.mark.parametrize("seed", range(3))
def test_area_under_the_curve_is_that_of_monai_with_ties(seed: int) -> None:
    item = _case(seed)
    theirs = compute_roc_auc(torch.from_numpy(item.scores), torch.from_numpy(item.labels))
    assert auc(item.scores, item.labels) == pytest.approx(float(theirs), abs=1e-12)
    assert np.isnan(auc(item.scores, np.ones(60, np.int64)))


def test_accuracy_by_hand() -> None:
    assert accuracy(np.array([0.2, -1.0, 3.0, -0.1]), np.array([1, 0, 0, 1])) == 0.5


def test_the_interval_of_accuracy_is_near_the_binomial_one() -> None:
    seeds = [_case(seed, 400) for seed in range(4)]
    found = interval(seeds, "accuracy")
    width = 2 * 1.96 * np.sqrt(found.mean * (1 - found.mean) / 1600)
    assert found.low < found.mean < found.high
    assert found.high - found.low == pytest.approx(width, rel=0.15)


def test_the_same_cases_in_every_seed_do_not_narrow_the_interval() -> None:
    item = _case(1, 200)
    once, often = interval([item], "accuracy"), interval([item] * 5, "accuracy")
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.15)


def test_cases_of_one_patient_are_drawn_together() -> None:
    item = _case(2, 100)
    doubled = Predictions(*(np.repeat(field, 4) for field in item))
    wide = interval([doubled], "accuracy")
    narrow = interval([doubled._replace(groups=np.arange(400))], "accuracy")
    assert wide.high - wide.low > 1.6 * (narrow.high - narrow.low)


@pytest.mark.parametrize("metric", ["accuracy", "AUC"])
def test_a_difference_is_paired(metric: str) -> None:
    ours = [_case(seed, 200) for seed in range(3)]
    better = [item._replace(scores=item.scores + 0.5 * (2 * item.labels - 1)) for item in ours]
    zero, gain = difference(ours, ours, metric), difference(better, ours, metric)
    assert zero == (0.0, 0.0, 0.0)
    assert 0 < gain.low < gain.mean < gain.high
    alone = interval(ours, metric)
    assert gain.high - gain.low < alone.high - alone.low


def test_other_cases_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="different cases"):
        difference([_case(1)], [_case(2)], "AUC")
    with pytest.raises(ValueError, match="different cases"):
        difference([_case(1)], [_case(1), _case(2)], "AUC")
