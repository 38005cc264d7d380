"""Calibration: tables with known answers, and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.metrics import brier_score, expected_calibration_error, reliability_table


def test_a_table_with_known_rows() -> None:
    rows = reliability_table([0.0, 0.1, 0.3, 0.5, 1.0], [0, 1, 0, 1, 1], bins=2)
    assert [tuple(row) for row in rows] == [
        (0.0, 0.5, 3, pytest.approx(0.4 / 3), pytest.approx(1 / 3)),
        (0.5, 1.0, 2, 0.75, 1.0),
    ]


def test_empty_bins_hold_nan_and_do_not_count() -> None:
    rows = reliability_table([0.05, 0.95], [0, 1])
    assert [row.items for row in rows] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert np.isnan(rows[4].observed_share)
    assert expected_calibration_error([0.05, 0.95], [0, 1]) == pytest.approx(0.05)


def test_calibrated_probabilities_have_a_small_error_and_extreme_ones_a_large_one() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(20000)
    labels = rng.random(20000) < probability
    assert expected_calibration_error(probability, labels) < 0.015
    assert expected_calibration_error(probability > 0.5, labels) == pytest.approx(0.25, abs=0.02)


def test_quantile_bins_hold_equally_many_items() -> None:
    probability = np.random.default_rng(1).random(100) ** 4
    labels = np.arange(100) % 2
    assert [row.items for row in reliability_table(probability, labels, 5, "quantile")] == [20] * 5
    assert len(reliability_table([0.5] * 9, [1] * 9, 5, "quantile")) == 2  # equal ends make one bin


def test_the_brier_score_of_known_items() -> None:
    assert brier_score([0.0, 1.0], [0, 1]) == 0.0
    assert brier_score([1.0, 0.5], [0, 1]) == pytest.approx((1 + 0.25) / 2)


def test_equals_scikit_learn() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    rng = np.random.default_rng(2)
    probability, labels = rng.random(200), rng.integers(0, 2, 200)
    assert brier_score(probability, labels) == pytest.approx(brier_score_loss(labels, probability))
    observed, mean = calibration_curve(labels, probability, n_bins=10)
    rows = reliability_table(probability, labels)
    np.testing.assert_allclose([row.observed_share for row in rows], observed)
    np.testing.assert_allclose([row.mean_probability for row in rows], mean)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a probability is 1.5, expected 0 to 1"):
        brier_score([1.5], [1])
    with pytest.raises(ValueError, match="bins is 0"):
        reliability_table([0.5], [1], bins=0)
    with pytest.raises(ValueError, match="spacing is 'log'"):
        reliability_table([0.5], [1], spacing="log")  # type: ignore[arg-type]
