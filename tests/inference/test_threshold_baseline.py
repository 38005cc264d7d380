"""The threshold baseline: what it keeps, and that tuning finds the right rule."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.inference.threshold_baseline import ThresholdBaseline, tune_threshold
from medseg.metrics import dice_score


def _scene(seed: int, bridge: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 3, (24, 24, 24))
    target = np.zeros(image.shape, dtype=np.uint8)
    target[4:14, 4:14, 4:14] = 1
    image[target > 0] += 100
    image[17:22, 17:22, 17:22] += 100  # a smaller structure of the same density
    if bridge:
        image[14:17, 9, 9] += 100
    return image, target


def test_keeps_the_largest_component_inside_the_limits() -> None:
    image, target = _scene(0)
    assert dice_score(ThresholdBaseline(80, 120, 0).segment(image), target) == 1.0


def test_opening_cuts_a_thin_bridge() -> None:
    image, _ = _scene(0, bridge=True)
    with_bridge = ThresholdBaseline(80, 120, 0).segment(image)
    opened = ThresholdBaseline(80, 120, 1).segment(image)
    assert with_bridge[15, 9, 9]
    assert not opened[15, 9, 9] and not opened[19, 19, 19]


def test_nothing_inside_the_limits_gives_an_empty_mask() -> None:
    assert not ThresholdBaseline(500, 600, 2).segment(np.zeros((5, 5, 5))).any()


def test_tuning_separates_a_separable_scene() -> None:
    rule, score = tune_threshold([_scene(seed) for seed in range(3)])
    assert score > 0.97
    image, target = _scene(9)
    assert dice_score(rule.segment(image), target) > 0.97


def test_tuning_cannot_separate_equal_densities_that_touch() -> None:
    image, target = _scene(0)
    image[14:22, 4:14, 4:14] += 100  # a neighbour of the same density over a whole face
    assert tune_threshold([(image, target)])[1] < 0.8


def test_no_foreground_is_refused() -> None:
    with pytest.raises(ValueError, match="no foreground voxel"):
        tune_threshold([(np.zeros((3, 3, 3)), np.zeros((3, 3, 3)))])
