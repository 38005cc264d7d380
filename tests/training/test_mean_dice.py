"""The validation score: mean Dice over the cases with foreground, undefined without any."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine

from medseg.training.mean_dice import MeanDiceNonempty

FULL, EMPTY = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
HALF = torch.cat([FULL[..., :2], EMPTY[..., :2]], dim=-1)


def score(*pairs: tuple[torch.Tensor, torch.Tensor]) -> float:
    engine = Engine(lambda engine, batch: batch)
    MeanDiceNonempty(include_background=True).attach(engine, "dice")
    return engine.run(list(pairs)).metrics["dice"]


def test_without_any_foreground_the_score_is_undefined_and_not_zero() -> None:
    assert math.isnan(score((EMPTY, EMPTY)))
    assert math.isnan(score((FULL, EMPTY), (EMPTY, EMPTY)))


def test_cases_without_foreground_do_not_count() -> None:
    assert score((FULL, FULL), (FULL, EMPTY)) == 1.0
    assert score((HALF, FULL), (EMPTY, EMPTY)) == pytest.approx(2 / 3)


def test_a_mask_that_misses_everything_scores_zero_and_not_undefined() -> None:
    assert score((EMPTY, FULL)) == 0.0


def test_the_score_of_every_case_is_kept_with_nan_for_the_undefined() -> None:
    engine = Engine(lambda engine, batch: batch)
    MeanDiceNonempty(include_background=True).attach(engine, "dice")
    engine.run([(FULL, FULL), (EMPTY, EMPTY)])
    details = engine.state.metric_details["dice"].flatten()
    assert details[0] == 1.0 and torch.isnan(details[1])


def test_two_channels_without_the_background() -> None:
    def one_hot(mask: torch.Tensor) -> torch.Tensor:
        return torch.cat([1 - mask, mask], dim=1)

    engine = Engine(lambda engine, batch: batch)
    MeanDiceNonempty(include_background=False).attach(engine, "dice")
    assert engine.run([(one_hot(HALF), one_hot(FULL))]).metrics["dice"] == pytest.approx(2 / 3)
    assert math.isnan(engine.run([(one_hot(HALF), one_hot(EMPTY))]).metrics["dice"])
