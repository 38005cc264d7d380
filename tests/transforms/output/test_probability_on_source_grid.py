"""ProbabilityOnSourceGrid against the float32 probabilities that MONAI's Invertd makes on the source grid."""

from __future__ import annotations

import pytest
import torch

from medseg.transforms import (
    PROBABILITY_SCALE,
    MaskOnSourceGrid,
    ProbabilityOnSourceGrid,
    ProbabilityOnSourceGridd,
    SeparableSpacingd,
)
from tests.transforms.output.test_mask_on_source_grid import SHAPE, STEPS, on_source_grid, prepared, smooth_scores


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("steps", STEPS)
def test_the_map_is_what_interpolating_gives_to_half_a_step(steps: str, channels: int) -> None:
    preprocessing, image = prepared(steps)
    scores = smooth_scores(image.shape, channels).clamp(0, 1)
    found = ProbabilityOnSourceGrid(preprocessing)(scores, image)
    expected = on_source_grid(scores, preprocessing, image)
    assert (found.dtype, found.shape) == (torch.uint8, (channels, *SHAPE))
    error = (found.as_tensor().float() / PROBABILITY_SCALE - expected).abs().max()
    assert float(error) <= 0.5 / PROBABILITY_SCALE + 1e-6
    again = ProbabilityOnSourceGridd("pred", preprocessing)({"pred": scores, "image": image})["pred"]
    assert torch.equal(again.as_tensor(), found.as_tensor())


def test_the_map_agrees_with_the_mask_except_at_the_threshold() -> None:
    preprocessing, image = prepared("ours")
    scores = smooth_scores(image.shape, 1).clamp(0, 1)
    probability = ProbabilityOnSourceGrid(preprocessing)(scores, image).as_tensor().int()
    mask = MaskOnSourceGrid(preprocessing, threshold=0.5)(scores, image).as_tensor()
    assert bool((probability[mask == 1] >= 127).all())
    assert bool((probability[mask == 0] <= 128).all())


def test_only_slabs_exist_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    from medseg.transforms.spatial import separable_spacing

    preprocessing, image = prepared("ours")
    assert any(isinstance(step, SeparableSpacingd) for step in preprocessing.transforms)

    def whole(*_: object) -> None:
        raise AssertionError("all probabilities were resampled at a time")

    monkeypatch.setattr(separable_spacing.AxisResampler, "whole", whole)
    ProbabilityOnSourceGrid(preprocessing)(smooth_scores(image.shape, 1).clamp(0, 1), image)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_scores_that_are_no_probabilities_are_refused(wrong: float) -> None:
    preprocessing, image = prepared("ours")
    scores = torch.full((1, *image.shape[1:]), 0.5)
    scores[0, 0, 0, 0] = wrong
    with pytest.raises(ValueError, match="expected probabilities, such as Activationsd"):
        ProbabilityOnSourceGrid(preprocessing)(scores, image)
