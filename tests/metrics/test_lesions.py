"""Which lesions belong together, and how many were found: hand-made cases with known answers and a slow reference."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.metrics import DetectionCounts, match_lesions

Mask = NDArray[np.bool_]


def row(text: str) -> Mask:
    """One row of a mask: every letter x is foreground."""
    return np.array([[letter == "x" for letter in text]])


def test_equal_masks_find_every_lesion() -> None:
    mask = row("xx..x..xxx")
    for rule in ("lits", "one-to-one"):
        found = match_lesions(mask, mask, rule)  # type: ignore[arg-type]
        assert found.counts(0.5) == DetectionCounts(3, 0, 0)
        assert [match.iou for match in found.matches] == [1.0, 1.0, 1.0]


def test_a_prediction_that_joins_two_lesions_is_one_hit_of_one_in_lits_and_of_two_one_to_one() -> None:
    prediction, reference = row(".xxxxxxx."), row(".xxx.xxx.")
    lits = match_lesions(prediction, reference, "lits")
    assert [(m.predicted, m.reference, m.iou) for m in lits.matches] == [((1,), (1, 2), 6 / 7)]
    assert lits.counts(0.5) == DetectionCounts(1, 0, 0)
    plain = match_lesions(prediction, reference)
    assert plain.counts(0.0) == DetectionCounts(1, 0, 1)
    assert plain.counts(0.5) == DetectionCounts(0, 1, 2)


def test_two_predictions_in_one_lesion_are_merged_in_lits_only() -> None:
    prediction, reference = row("xxx.xxx"), row("xxxxxxx")
    lits = match_lesions(prediction, reference, "lits")
    assert [(m.predicted, m.reference, m.iou) for m in lits.matches] == [((1, 2), (1,), 6 / 7)]
    assert lits.counts(0.5) == DetectionCounts(1, 0, 0)
    assert match_lesions(prediction, reference).counts(0.0) == DetectionCounts(1, 1, 0)


def test_a_lesion_of_two_predictions_is_merged_with_the_neighbours_of_the_larger_one() -> None:
    #                 1111111 2222
    prediction = row("xxxxxxx.xxxx")
    reference = row("xx.xxxxxxx.x")  # 1: under 1; 2: 4 voxels under 1, 2 under 2; 3: under 2
    lits = match_lesions(prediction, reference, "lits")
    assert [(m.predicted, m.reference) for m in lits.matches] == [((1, 2), (1, 2))]
    assert lits.lost == ((3,),)  # its only prediction overlaps the other lesion more
    assert lits.counts(0.0) == DetectionCounts(1, 0, 1)


def test_lost_and_invented_lesions_are_counted() -> None:
    found = match_lesions(row("xx......xx"), row("....xx..xx"), "lits")
    assert (found.lost, found.invented) == (((1,),), (1,))
    assert found.counts(0.5) == DetectionCounts(1, 1, 1)
    assert (found.counts().precision, found.counts().recall, found.counts().f1) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("rule", ["lits", "one-to-one"])
def test_empty_masks_have_stated_counts(rule: str) -> None:
    none, one = row("...."), row(".x..")
    assert match_lesions(none, none, rule).counts() == DetectionCounts(0, 0, 0)  # type: ignore[arg-type]
    assert match_lesions(none, one, rule).counts() == DetectionCounts(0, 0, 1)  # type: ignore[arg-type]
    assert match_lesions(one, none, rule).counts() == DetectionCounts(0, 1, 0)  # type: ignore[arg-type]
    empty = match_lesions(none, none, rule).counts()  # type: ignore[arg-type]
    assert np.isnan([empty.precision, empty.recall, empty.f1]).all()


def test_an_iou_of_exactly_one_half_is_no_hit_above_one_half() -> None:
    assert match_lesions(row("xxxx"), row("xx..")).counts(0.5) == DetectionCounts(0, 1, 1)
    assert match_lesions(row("xxxx"), row("xx..")).counts(0.49) == DetectionCounts(1, 0, 0)


def test_voxels_that_touch_by_a_corner_are_two_lesions_in_lits_and_one_otherwise() -> None:
    mask = np.eye(2, dtype=bool)
    assert match_lesions(mask, mask, "lits").counts().true_positive == 2
    assert match_lesions(mask, mask).counts().true_positive == 1
    assert match_lesions(mask, mask, connectivity=1).counts().true_positive == 2


def test_one_to_one_has_the_largest_sum_of_iou() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        prediction, reference = rng.random((2, 1, 14)) > 0.45
        found = match_lesions(prediction, reference)
        p, r = found.predicted_labels, found.reference_labels
        table = np.array(
            [
                [np.sum((p == a) & (r == b)) / np.sum((p == a) | (r == b)) for b in range(1, r.max() + 1)]
                for a in range(1, p.max() + 1)
            ]
        )
        small = table if table.shape[0] <= table.shape[1] else table.T
        best = max(
            sum(small[i, c] for i, c in enumerate(way)) for way in permutations(range(small.shape[1]), len(small))
        )
        assert sum(match.iou for match in found.matches) == pytest.approx(best)


def lits_by_masks(prediction: Mask, reference: Mask, min_iou: float) -> DetectionCounts:
    """The rules of LiTS, with masks and without tables: merge references, assign predictions, merge them, compare."""
    from scipy import ndimage

    p, predicted = ndimage.label(prediction)
    r, _ = ndimage.label(reference)
    merged = r.copy()
    for a in range(1, predicted + 1):
        mine = []
        for b in np.unique(r[(p == a) & (r > 0)]):
            shares = [np.sum((p == other) & (r == b)) for other in range(1, predicted + 1)]
            if int(np.argmax(shares)) + 1 == a:
                mine.append(b)
        for b in mine:
            merged[r == b] = mine[0]
    owner = {}
    for a in range(1, predicted + 1):
        overlaps = {int(b): int(np.sum((p == a) & (merged == b))) for b in np.unique(merged[(p == a) & (merged > 0)])}
        if overlaps:
            owner[a] = max(sorted(overlaps), key=lambda b: overlaps[b])
    objects = [int(b) for b in np.unique(merged) if b]
    found = 0
    for b in set(owner.values()):
        mask = np.isin(p, [a for a, other in owner.items() if other == b])
        found += np.sum(mask & (merged == b)) / np.sum(mask | (merged == b)) > min_iou
    predictions = predicted - (len(owner) - len(set(owner.values())))
    return DetectionCounts(int(found), predictions - int(found), len(objects) - int(found))


@pytest.mark.parametrize("min_iou", [0.0, 0.3, 0.5])
def test_lits_follows_its_rules_on_random_masks(min_iou: float) -> None:
    rng = np.random.default_rng(1)
    for density in (0.3, 0.5, 0.6, 0.7):
        for _ in range(15):
            prediction, reference = rng.random((2, 4, 5, 6)) > density
            found = match_lesions(prediction, reference, "lits").counts(min_iou)
            assert found == lits_by_masks(prediction, reference, min_iou)


def test_wrong_arguments_are_refused() -> None:
    mask = row("x.x")
    with pytest.raises(ValueError, match="rule is 'best', expected 'lits' or 'one-to-one'"):
        match_lesions(mask, mask, "best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="connectivity is 3, expected 1 to 2"):
        match_lesions(mask, mask, connectivity=3)
    with pytest.raises(ValueError, match="min_iou is 1, expected from 0 to below 1"):
        match_lesions(mask, mask).counts(1)
