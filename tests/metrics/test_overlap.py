"""dice_score: closed forms, MONAI as a peer, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice

from medseg.metrics import dice_score, overlap_scores


def test_half_overlapping_blocks_score_one_half() -> None:
    first, second = np.zeros((4, 8)), np.zeros((4, 8))
    first[:, :4], second[:, 2:6] = 1, 1
    assert dice_score(first, second) == pytest.approx(0.5)


def test_limits_and_the_empty_convention() -> None:
    block = np.ones((3, 3), dtype=np.uint8)
    assert dice_score(block, block) == 1.0
    assert dice_score(block, np.zeros_like(block)) == 0.0
    assert dice_score(np.zeros_like(block), np.zeros_like(block)) == 1.0


def test_equals_monai_on_random_masks() -> None:
    first, second = np.random.default_rng(0).random((2, 1, 1, 9, 10, 11)) > 0.6
    peer = compute_dice(torch.as_tensor(first), torch.as_tensor(second)).item()
    assert dice_score(first, second) == pytest.approx(peer, abs=1e-6)


def test_label_values_above_zero_are_foreground() -> None:
    assert dice_score(np.array([0, 1, 2]), np.array([0, 2, 1])) == 1.0


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction has shape \(2,\), reference \(3,\)"):
        dice_score(np.ones(2), np.ones(3))


@pytest.mark.parametrize("value", [0.3, 0.99, np.nan, np.inf])
def test_probabilities_and_interpolated_masks_are_refused(value: float) -> None:
    mask, fraction = np.ones((2, 3)), np.array([[1, 1, 1], [1, value, 1]])
    for first, second, name in ((fraction, mask, "prediction"), (mask, fraction, "reference")):
        with pytest.raises(ValueError, match=rf"{name} contains {value:g} at \[1, 1\], expected whole numbers"):
            dice_score(first, second)
        with pytest.raises(ValueError, match=rf"{name} contains {value:g} at \[1, 1\], expected whole numbers"):
            dice_score(torch.tensor(first), torch.tensor(second))


@pytest.mark.parametrize(
    "change",
    [
        np.float16,
        ">f8",
        bool,
        lambda a: a[::-1].copy()[::-1],
        np.asfortranarray,
        torch.tensor,
        lambda a: torch.tensor(a).bfloat16(),
        lambda a: torch.tensor(a).half().T.contiguous().T,
        lambda a: a.tolist(),
    ],
)
def test_masks_of_every_type_and_layout_give_one_score(change: Any) -> None:
    first, second = (np.random.default_rng(0).random((2, 70, 80)) > 0.4).astype(np.float32)
    expected = dice_score(first, second)
    convert = change if callable(change) and change not in (np.float16, bool) else lambda a: a.astype(change)
    assert dice_score(convert(first), second) == expected
    assert dice_score(first, convert(second)) == expected


def test_counts_beyond_the_range_of_float16_are_exact() -> None:
    mask = torch.ones(1, 64, 64, 64).half()
    assert dice_score(mask, mask) == 1.0
    mask[0, :32] = 0
    assert dice_score(mask, torch.ones_like(mask)) == pytest.approx(2 / 3, abs=1e-12)


def test_a_prediction_that_is_a_fifth_too_large_has_both_volume_differences() -> None:
    prediction, reference = np.ones(12, bool), np.ones(12, bool)
    reference[:2] = False
    scores = overlap_scores(prediction, reference)
    assert scores.rvd == pytest.approx(0.2)
    assert scores.rvd_lits == pytest.approx(-1 / 6)
    assert (scores.prediction_voxels, scores.reference_voxels, scores.common_voxels) == (12, 10, 10)
    assert (scores.jaccard, scores.voe) == pytest.approx((10 / 12, 2 / 12))


def test_empty_masks_are_named_and_have_stated_scores() -> None:
    full, none = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    both, lost, extra = overlap_scores(none, none), overlap_scores(none, full), overlap_scores(full, none)
    assert both == (1.0, 1.0, 0.0, 0.0, 0.0, 0, 0, 0, "both")
    assert (lost.dice, lost.voe, lost.rvd, lost.empty) == (0.0, 1.0, -1.0, "prediction")
    assert np.isnan(lost.rvd_lits)
    assert (extra.dice, extra.voe, extra.rvd_lits, extra.empty) == (0.0, 1.0, -1.0, "reference")
    assert np.isnan(extra.rvd)
