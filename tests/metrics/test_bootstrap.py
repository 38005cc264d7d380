"""Bootstrap: closed forms, coverage, and patients that are drawn as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.metrics import bootstrap_interval, bootstrap_mean, paired_difference


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap_mean(values, resamples=5000)
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_patients_are_drawn_with_all_their_cases() -> None:
    values, patients = np.repeat([0.0, 1.0], 50), ["a"] * 50 + ["b"] * 50
    assert bootstrap_mean(values, patients)[:3] == (0.5, 0.0, 1.0)  # two patients, not a hundred
    alone = bootstrap_mean(values)
    assert 0.35 < alone.low < alone.high < 0.65


def test_both_ways_of_resampling_agree() -> None:
    rng = np.random.default_rng(1)
    values, patients = rng.random(60), list(rng.integers(0, 20, 60))
    fast = bootstrap_mean(values, patients, resamples=4000)
    slow = bootstrap_interval(lambda items: float(values[items].mean()), patients, resamples=4000)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high), abs=0.01)


def test_values_that_do_not_exist_are_left_out_and_counted() -> None:
    assert bootstrap_mean([1.0, np.nan, 1.0]) == (1.0, 1.0, 1.0, 2)
    none = bootstrap_mean([np.nan])
    assert np.isnan([none.value, none.low, none.high]).all()
    assert none.items == 0


def test_a_paired_comparison_sees_what_an_unpaired_one_cannot() -> None:
    base = np.random.default_rng(2).random(50)
    found = paired_difference(base + 0.01, base)
    assert (found.difference, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01))
    assert (found.better, found.worse, found.cases, found.groups) == (50, 0, 50, 50)
    assert found.p_value == 1 / 2000
    same = paired_difference(base, base)
    assert (same.difference, same.p_value) == (0.0, 1.0)


def test_the_test_is_right_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    found = [paired_difference(rng.normal(size=40), np.zeros(40), resamples=400).p_value < 0.05 for _ in range(300)]
    assert 0.02 <= np.mean(found) <= 0.10


def test_cases_that_one_result_lacks_are_not_compared() -> None:
    found = paired_difference([1.0, np.nan, 3.0], [0.0, 1.0, np.nan], ["a", "b", "c"])
    assert (found.difference, found.cases, found.groups) == (1.0, 1, 1)
    assert paired_difference([np.nan], [1.0]).cases == 0


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="one group for every value"):
        bootstrap_mean([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="one value of each for every case"):
        paired_difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="resamples is 0"):
        bootstrap_mean([1.0], resamples=0)
    with pytest.raises(ValueError, match="level is 95"):
        bootstrap_mean([1.0], level=95)
    with pytest.raises(ValueError, match="there is no item"):
        bootstrap_interval(lambda _: 0.0, [])
