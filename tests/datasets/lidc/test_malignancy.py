"""Which label a nodule gets from its readers' scores."""

from __future__ import annotations

import pytest

from medseg.datasets.lidc import MalignancyPolicy


@pytest.mark.parametrize(
    ("statistic", "scores", "label"),
    [
        ("median", [1, 2, 5], 0),
        ("median", [3, 3, 5], None),
        ("mean", [3, 3, 5], 1),
        ("mean", [1, 3, 5], None),
        ("median", [4, 5, 2, 4], 1),
        ("median", [2, 3, 3, 4], None),
        ("median", [5, 5], None),
    ],
)
def test_median_and_mean_of_three_readers(statistic: str, scores: list[int], label: int | None) -> None:
    assert MalignancyPolicy(statistic).label(scores) == label  # type: ignore[arg-type]


def test_a_margin_drops_more_but_keeps_its_own_bounds() -> None:
    policy = MalignancyPolicy("mean", minimum_readers=2, margin=0.5)
    assert [policy.label(scores) for scores in ([2, 3], [3, 4], [3, 3, 4], [2, 3, 3])] == [0, 1, None, None]


def test_ambiguous_nodules_may_be_kept() -> None:
    assert MalignancyPolicy(ambiguous="benign").label([3, 3, 3]) == 0
    assert MalignancyPolicy(ambiguous="malignant").label([3, 3, 3]) == 1


def test_the_policy_states_itself() -> None:
    assert MalignancyPolicy().describe() == (
        "median malignancy of at least 3 readers: benign < 3, malignant > 3, else dropped"
    )
    assert "benign <= 2.5, malignant >= 3.5, else benign" in MalignancyPolicy(margin=0.5, ambiguous="benign").describe()


def test_scores_and_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="score is 6, expected 1 to 5"):
        MalignancyPolicy().label([1, 6, 2])
    with pytest.raises(ValueError, match="statistic is 'mode'"):
        MalignancyPolicy("mode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="margin is 2"):
        MalignancyPolicy(margin=2)
    with pytest.raises(ValueError, match="minimum_readers is 0"):
        MalignancyPolicy(minimum_readers=0)
    with pytest.raises(ValueError, match="ambiguous is 'keep'"):
        MalignancyPolicy(ambiguous="keep")  # type: ignore[arg-type]
