"""Scores of LiTS: cases with known answers, and the quirks of the challenge's scripts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.metrics import LITS_PENALTY, DetectionCounts, lits_case, lits_summary

Labels = NDArray[np.uint8]
SPACING = (2.5, 0.7, 0.8)


def liver(*tumours: tuple[slice, slice, slice]) -> Labels:
    """A liver of 10 x 10 x 10 voxels with tumours."""
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[1:11, 1:11, 1:11] = 1
    for tumour in tumours:
        labels[tumour] = 2
    return labels


def cube(start: int, length: int = 3) -> tuple[slice, slice, slice]:
    part = slice(start, start + length)
    return part, part, part


def test_equal_masks_are_perfect() -> None:
    labels = liver(cube(2), cube(7))
    case = lits_case(labels, labels, SPACING)
    assert case.detection == {0.0: DetectionCounts(2, 0, 0), 0.5: DetectionCounts(2, 0, 0)}
    assert case.liver_object == case.tumour_objects[0] == (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert case.burden_reference == 54 / 1000
    summary = lits_summary([case])
    assert summary["lesion_precision"] == summary["lesion_recall"] == summary["lesion_dice_global"] == 1.0
    assert summary["rmse_tumorburden"] == summary["maxerror_tumorburden"] == 0.0


def test_a_tumour_shifted_along_the_long_spacing_has_known_scores() -> None:
    prediction, reference = liver((slice(3, 7), *cube(3)[1:])), liver(cube(3))
    (found,) = lits_case(prediction, reference, SPACING).tumour_objects
    assert (found.dice, found.voe) == pytest.approx((54 / 63, 1 - 27 / 36))
    assert (found.rvd, found.rvd_lits) == pytest.approx((9 / 27, -9 / 36))
    assert found.msd == 2.5
    assert 0 < found.assd < found.rmsd < 2.5


def test_without_tumours_dice_is_one_and_nothing_is_detected() -> None:
    summary = lits_summary([lits_case(liver(), liver(), SPACING)])
    assert (summary["lesion_dice_per_case"], summary["lesion_recall"], summary["lesion_precision"]) == (1.0, 0.0, 0.0)
    assert (summary["lesion_assd"], summary["lesion_rvd_lits"], summary["lesion_voe"]) == (9001.0, 9001.0, 1.0)
    assert np.isnan(summary["lesion_dice_global"])


def test_an_invented_and_a_missed_tumour_cost_dice_but_no_distance() -> None:
    cases = [lits_case(liver(cube(2)), liver(), SPACING), lits_case(liver(), liver(cube(2)), SPACING)]
    good = lits_case(liver(cube(2)), liver(cube(2)), SPACING)
    summary = lits_summary([*cases, good])
    assert summary["lesion_dice_per_case"] == pytest.approx(1 / 3)
    assert summary["lesion_dice_global"] == pytest.approx(2 * 27 / (4 * 27))
    assert (summary["lesion_precision"], summary["lesion_recall"], summary["lesion_f1"]) == (0.5, 0.5, 0.5)
    assert summary["lesion_assd"] == 0.0  # of the detected one alone
    assert summary["rmse_tumorburden"] == pytest.approx(np.sqrt(2 / 3) * 0.027)
    assert summary["maxerror_tumorburden"] == pytest.approx(0.027)  # signed: the missed tumour


def test_a_prediction_without_label_one_has_no_liver() -> None:
    prediction = liver()
    prediction[prediction == 1] = 2
    case = lits_case(prediction, liver(cube(2)), SPACING)
    assert not case.liver_predicted
    assert (case.liver.dice, case.liver_object.assd, case.liver_object.voe) == (0.0, LITS_PENALTY, 1.0)
    assert case.burden_error == pytest.approx(0.027 - LITS_PENALTY)
    both = lits_summary([case, lits_case(liver(), liver(), SPACING)])
    assert both["liver_dice_global"] == pytest.approx(2 * 1000 / 3000)
    assert both["liver_dice_per_case"] == 0.5
    assert both["liver_assd"] == LITS_PENALTY / 2


def test_one_prediction_over_two_tumours_is_one_detected_object() -> None:
    reference = liver(cube(2), (slice(2, 5), slice(2, 5), slice(6, 9)))
    prediction = liver((slice(2, 5), slice(2, 5), slice(2, 9)))
    case = lits_case(prediction, reference, SPACING)
    assert case.detection[0.5] == DetectionCounts(1, 0, 0)
    (found,) = case.tumour_objects
    assert found.jaccard == pytest.approx(54 / 63)


def test_liver_counts_tumours_as_liver() -> None:
    assert lits_case(liver(), liver(cube(2)), SPACING).liver.dice == 1.0


@pytest.mark.parametrize(
    ("prediction", "reference", "words"),
    [
        (np.zeros((4, 4, 4)), np.zeros((4, 4, 4)), "the reference holds no liver"),
        (np.zeros((4, 4)), np.zeros((4, 4)), "prediction has 2 axes, expected 3"),
        (np.full((4, 4, 4), 0.5), np.ones((4, 4, 4)), "expected whole numbers"),
        (np.ones((4, 4, 4)), np.ones((4, 4, 5)), "must be on one grid"),
    ],
)
def test_wrong_masks_are_refused(prediction: Any, reference: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lits_case(prediction, reference, SPACING)
    with pytest.raises(ValueError, match="no case to sum up"):
        lits_summary([])
