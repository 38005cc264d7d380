"""FROC and CPM: known answers, a slow reference by the rules of LUNA16, and scikit-learn's ROC curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medseg.metrics import LUNA16_RATES, FrocFinding, FrocMark, froc


def at(scan: str, x: float, diameter: float = 8.0) -> FrocFinding:
    return FrocFinding(scan, (x, 0.0, 0.0), diameter)


def mark(scan: str, x: float, score: float) -> FrocMark:
    return FrocMark(scan, (x, 0.0, 0.0), score)


def test_perfect_marks_have_a_cpm_of_one() -> None:
    found = froc([mark("a", 0, 0.9), mark("b", 5, 0.8)], [at("a", 0), at("b", 5)], ["a", "b"])
    assert found.cpm[:3] == (1.0, 1.0, 1.0)
    assert (found.found, found.false_positives, found.ignored) == (2, 0, 0)


def test_the_curve_of_known_marks() -> None:
    marks = [mark("a", 0, 0.9), mark("a", 50, 0.8), mark("b", 50, 0.7), mark("b", 0, 0.6)]
    found = froc(marks, [at("a", 0), at("b", 0)], ["a", "b"])
    assert found.fp_per_scan.tolist() == [0, 0, 0.5, 1, 1]
    assert found.sensitivity.tolist() == [0, 0.5, 0.5, 0.5, 1]
    assert [entry.value for entry in found.sensitivity_at] == [0.5, 0.5, 0.5, 1, 1, 1, 1]
    assert found.cpm.value == pytest.approx((3 * 0.5 + 4) / 7)


def test_a_mark_on_the_radius_is_no_hit() -> None:
    assert froc([mark("a", 4.0, 1)], [at("a", 0)], ["a"]).found == 0
    assert froc([mark("a", 3.999, 1)], [at("a", 0)], ["a"]).found == 1


def test_several_marks_on_a_nodule_count_once_with_the_highest_score() -> None:
    found = froc([mark("a", 0, 0.2), mark("a", 1, 0.9), mark("a", 2, 0.5)], [at("a", 0)], ["a"])
    assert (found.found, found.false_positives, found.ignored) == (1, 0, 2)
    assert found.thresholds.tolist() == [np.inf, 0.9]


def test_one_mark_can_find_two_nodules() -> None:
    found = froc([mark("a", 2, 0.9)], [at("a", 0), at("a", 4)], ["a"])
    assert (found.found, found.nodules, found.false_positives) == (2, 2, 0)


def test_marks_on_excluded_findings_are_neither_right_nor_wrong() -> None:
    marks = [mark("a", 0, 0.9), mark("a", 100, 0.95), mark("a", 200, 0.97)]
    found = froc(marks, [at("a", 0)], ["a"], excluded=[at("a", 101), at("a", 204.9, -1.0)])
    assert (found.found, found.false_positives, found.ignored) == (1, 0, 2)
    assert found.cpm.value == 1.0


def test_scans_without_nodule_and_mark_lower_the_rate() -> None:
    marks = [mark("a", 50, 0.9), mark("a", 0, 0.5)]
    few = froc(marks, [at("a", 0)], ["a"])
    many = froc(marks, [at("a", 0)], [*"abcdefgh"])
    assert (few.fp_per_scan.max(), many.fp_per_scan.max()) == (1.0, 0.125)
    assert (few.sensitivity_at[0].value, many.sensitivity_at[0].value) == (0.0, 1.0)


def test_no_mark_finds_nothing_and_no_nodule_has_no_sensitivity() -> None:
    assert froc([], [at("a", 0)], ["a"]).cpm.value == 0.0
    assert np.isnan(froc([mark("a", 0, 1)], [], ["a"]).cpm.value)


def cohort(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    scans = [f"scan{n}" for n in range(12)]
    nodules = [FrocFinding(s, tuple(rng.uniform(0, 60, 3)), rng.uniform(4, 30)) for s in scans for _ in range(3)]
    excluded = [FrocFinding(s, tuple(rng.uniform(0, 60, 3)), rng.uniform(4, 20)) for s in scans for _ in range(4)]
    marks = [
        FrocMark(s, tuple(rng.uniform(0, 60, 3)), float(np.round(rng.random(), 2))) for s in scans for _ in range(60)
    ]
    return {"marks": marks, "nodules": nodules, "scans": scans, "excluded": excluded}


def slow(marks: Any, nodules: Any, scans: Any, excluded: Any) -> tuple[list[int], list[float], int]:
    """Labels and scores of what counts, mark by mark, and the nodules that were missed."""
    labels, scores, missed = [], [], 0
    for scan in scans:
        mine = [m for m in marks if m.scan == scan]
        left = list(range(len(mine)))
        for finding, real in [(f, True) for f in nodules] + [(f, False) for f in excluded]:
            if finding.scan != scan:
                continue
            near = [n for n, m in enumerate(mine) if np.linalg.norm(np.subtract(m.centre_mm, finding.centre_mm)) < (
                finding.diameter_mm / 2)]  # fmt: skip
            if real and near:
                labels.append(1)
                scores.append(max(mine[n].score for n in near))
            missed += real and not near
            left = [n for n in left if n not in near]
        labels += [0] * len(left)
        scores += [mine[n].score for n in left]
    return labels, scores, missed


@pytest.mark.parametrize("seed", range(3))
def test_follows_the_rules_of_luna16_on_random_marks(seed: int) -> None:
    given = cohort(seed)
    labels, scores, missed = slow(**given)
    found = froc(**given, resamples=0)
    assert (found.found, found.false_positives) == (sum(labels), labels.count(0))
    assert found.nodules == sum(labels) + missed == 36
    for threshold, fp, sensitivity in zip(found.thresholds, found.fp_per_scan, found.sensitivity, strict=True):
        called = np.array(scores) >= threshold
        assert fp == pytest.approx(np.sum(called & (np.array(labels) == 0)) / 12)
        assert sensitivity == pytest.approx(np.sum(called & (np.array(labels) == 1)) / 36)
    assert np.isnan([found.cpm.low, found.cpm.high]).all()


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_curve_that_luna16_makes_of_scikit_learns(seed: int) -> None:
    peer = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    given = cohort(seed)
    labels, scores, missed = slow(**given)
    fpr, tpr, _ = peer.roc_curve(labels, scores)
    fp, sensitivity = fpr * labels.count(0) / 12, tpr * sum(labels) / (sum(labels) + missed)
    found = froc(**given, resamples=0)
    expected = np.interp(LUNA16_RATES, fp, sensitivity)
    assert [entry.value for entry in found.sensitivity_at] == pytest.approx(list(expected))
    assert found.cpm.value == pytest.approx(expected.mean())


def test_the_interval_holds_the_value_and_repeats() -> None:
    given = cohort(5)
    first, again = froc(**given, resamples=200), froc(**given, resamples=200)
    assert first.cpm == again.cpm
    assert first.cpm.low < first.cpm.value < first.cpm.high
    assert all(entry.low <= entry.value <= entry.high for entry in first.sensitivity_at)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scans": []}, "names 0 scan"),
        ({"scans": ["a", "a"]}, "2 scan.s., 1 different"),
        ({"marks": [mark("b", 0, 1)]}, "mark 0 belongs to a scan that scans does not name: b"),
        ({"nodules": [at("b", 0)]}, "nodule 0 belongs to a scan"),
        ({"marks": [mark("a", 0, np.nan)]}, "mark 0 holds a number that is not finite"),
        ({"rates": []}, "rates is .., expected positive numbers"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"marks": [], "nodules": [], "scans": ["a"]}
    with pytest.raises(ValueError, match=words):
        froc(**given | change)
