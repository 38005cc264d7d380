"""All scores of one case: those of the single metrics, put together by class and by lesion."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.metrics import DetectionCounts, evaluate_case, lits_case, overlap_scores, surface_dice, surface_distances
from tests.metrics.evaluation._folders import label

SPACING = (0.8, 0.7, 2.5)
CLASSES = {"liver": (1, 2), "tumour": (2,)}


def test_every_class_has_the_scores_of_its_mask() -> None:
    prediction, reference = label(1), label()
    found = evaluate_case(prediction, reference, SPACING, CLASSES, ["tumour"], tolerance_mm=0.7)
    for scores, values in zip(found.classes, CLASSES.values(), strict=True):
        masks = np.isin(prediction, values), np.isin(reference, values)
        far = surface_distances(*masks, SPACING)
        assert scores.overlap == overlap_scores(*masks)
        assert (scores.assd_mm, scores.rmsd_mm, scores.msd_mm) == (far.assd_mm, far.rmsd_mm, far.msd_mm)
        assert scores.surface_dice == pytest.approx(surface_dice(*masks, SPACING, 0.7))
    liver, tumour = found.classes
    assert (liver.any_overlap, liver.half_overlap) == (None, None)
    assert (tumour.any_overlap, tumour.half_overlap) == (DetectionCounts(1, 0, 0), DetectionCounts(1, 0, 0))
    assert tumour.reference_ml == pytest.approx(64 * np.prod(SPACING) / 1000)
    assert found.lits is None


def test_every_lesion_is_listed_with_its_place() -> None:
    prediction, reference = np.zeros((2, 20, 12, 9), np.uint8)
    reference[2:5, 2:5, 2:5] = prediction[3:6, 2:5, 2:5] = 1
    reference[10:12, 8:10, 5:7] = 1
    prediction[16:20, 0:2, 7:9] = 1
    found = evaluate_case(prediction, reference, (1.0, 1.0, 1.0)).lesions
    assert [(lesion.kind, lesion.centre_voxel) for lesion in found] == [
        ("matched", (3.0, 3.0, 3.0)),
        ("lost", (10.5, 8.5, 5.5)),
        ("invented", (17.5, 0.5, 7.5)),
    ]
    assert found[0].iou == pytest.approx(18 / 36)
    assert found[0].dice == pytest.approx(36 / 54)
    assert found[1].diameter_mm == pytest.approx((6 * 8 / np.pi) ** (1 / 3))
    assert [lesion.prediction_ml for lesion in found] == pytest.approx([0.027, 0.0, 0.016])


def test_both_schemes_stand_side_by_side() -> None:
    found = evaluate_case(label(1), label(), SPACING, CLASSES, ["tumour"], scheme="lits")
    assert found.lits == lits_case(label(1), label(), SPACING)


@pytest.mark.parametrize(
    ("prediction", "reference", "dice", "empty"),
    [(True, False, 0.0, "reference"), (False, True, 0.0, "prediction"), (False, False, 1.0, "both")],
)
def test_empty_masks_are_named_and_distances_do_not_exist(
    prediction: bool, reference: bool, dice: float, empty: str
) -> None:
    found = evaluate_case(label(0, prediction), label(0, reference), SPACING, {"tumour": (2,)}, tolerance_mm=1.0)
    (scores,) = found.classes
    assert (scores.overlap.dice, scores.overlap.empty, scores.surface_dice) == (dice, empty, dice)
    assert np.isnan(scores.assd_mm) == (empty != "both")


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="lesions names 'tumor', which is no class; expected some of liver, tumour"):
        evaluate_case(label(), label(), SPACING, CLASSES, ["tumor"])
    with pytest.raises(ValueError, match="must be on one grid"):
        evaluate_case(label(), label()[:-1], SPACING)
    with pytest.raises(ValueError, match="prediction has 2 axes, expected 3"):
        evaluate_case(label()[0], label()[0], SPACING)
