"""Accuracy and the area under the ROC curve: known answers, a slow reference of DeLong, scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.metrics import auc_difference, auc_interval, binary_scores


def kernel(positive: float, negative: float) -> float:
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


def slow_delong(scores: list[NDArray[Any]], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Areas and their covariance by the definition: every pair of a positive and a negative, two loops."""
    table = [[[kernel(a, b) for b in s[labels == 0]] for a in s[labels == 1]] for s in scores]
    areas = np.array([np.mean(t) for t in table])
    m, n = np.shape(table[0])
    positives, negatives = np.array([np.mean(t, 1) for t in table]), np.array([np.mean(t, 0) for t in table])
    cov = (
        np.cov(positives, ddof=1).reshape(len(scores), -1) / m + np.cov(negatives, ddof=1).reshape(len(scores), -1) / n
    )
    return areas, cov


@pytest.mark.parametrize("decimals", [8, 1])  # with one decimal there are many ties
def test_areas_intervals_and_tests_are_those_of_delong(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    labels = (rng.random(60) > 0.6).astype(int)
    first = np.round(labels * 0.5 + rng.normal(size=60), decimals)
    second = np.round(labels * 0.8 + 0.5 * first + rng.normal(size=60), decimals)
    areas, cov = slow_delong([first, second], labels)
    for number, scores in enumerate((first, second)):
        found = auc_interval(scores, labels)
        assert (found.auc, found.variance) == pytest.approx((areas[number], cov[number, number]), rel=1e-12)
        assert found.low == pytest.approx(max(0, areas[number] - 1.959963985 * cov[number, number] ** 0.5), abs=1e-8)
    compared = auc_difference(first, second, labels)
    variance = cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]
    assert compared.difference == pytest.approx(areas[0] - areas[1])
    assert compared.high - compared.low == pytest.approx(2 * 1.959963985 * variance**0.5)
    from scipy.stats import norm

    assert compared.p_value == pytest.approx(2 * norm.sf(abs(areas[0] - areas[1]) / variance**0.5))


def test_known_areas() -> None:
    assert auc_interval([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).auc == 0.75
    assert auc_interval([1, 1, 1, 1], [0, 1, 0, 1]).auc == 0.5
    perfect = auc_interval([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert perfect == (1.0, 1.0, 1.0, 0.0, 2, 2)


def test_the_interval_covers_the_true_area_as_often_as_it_says() -> None:
    """Two normal distributions one standard deviation apart have an area of 0.7602."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    hits = 0
    for _ in range(400):
        found = auc_interval(rng.normal(size=100) + labels, labels)
        hits += found.low <= 0.760250 <= found.high
    assert 0.91 <= hits / 400 <= 0.98


def test_one_class_alone_has_no_area() -> None:
    found = auc_interval([0.1, 0.2], [1, 1])
    assert np.isnan([found.auc, found.low, found.high, found.variance]).all()
    single = auc_interval([0.1, 0.2, 0.3], [0, 1, 0])
    assert single.auc == 0.5
    assert np.isnan(single.variance)
    assert np.isnan(auc_difference([0.1, 0.2], [0.2, 0.1], [1, 1]).p_value)


def test_accuracy_and_its_parts() -> None:
    found = binary_scores([0.9, 0.5, 0.4, 0.1, 0.7], [1, 1, 1, 0, 0])
    assert found == pytest.approx((3 / 5, (2 / 3 + 1 / 2) / 2, 2 / 3, 1 / 2, 2 / 3))
    assert np.isnan(binary_scores([0.1], [0]).sensitivity)
    assert np.isnan(binary_scores([0.1], [0]).precision)


def test_equals_scikit_learn() -> None:
    peer = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 80)
    scores = np.round(rng.random(80), 1)
    assert auc_interval(scores, labels).auc == pytest.approx(peer.roc_auc_score(labels, scores))
    found, called = binary_scores(scores, labels), scores >= 0.5
    assert found.accuracy == pytest.approx(peer.accuracy_score(labels, called))
    assert found.balanced_accuracy == pytest.approx(peer.balanced_accuracy_score(labels, called))
    assert found.precision == pytest.approx(peer.precision_score(labels, called))


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([], [], "0 scores and 0 labels"),
        ([0.1, 0.2], [1], "2 scores and 1 labels"),
        ([0.1, 0.2], [1, 2], "labels hold 2, expected 0 and 1"),
        ([0.1, np.nan], [1, 0], "not finite"),
    ],
)
def test_wrong_items_are_refused(scores: Any, labels: Any, words: str) -> None:
    for function in (auc_interval, binary_scores):
        with pytest.raises(ValueError, match=words):
            function(scores, labels)
    with pytest.raises(ValueError, match="level is 95, expected above 0 and below 1"):
        auc_interval([0.1, 0.2], [0, 1], level=95)
