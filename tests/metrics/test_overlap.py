"""dice_score: closed forms, MONAI as a peer, and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice

from medseg.metrics import dice_score


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
