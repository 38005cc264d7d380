"""A loss that takes over when another stops falling, once, also across a resumed training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medseg.losses import FocalL2Loss, SwitchOnPlateau, switch_on_plateau

INPUT, TARGET = torch.tensor([[0.0, 0.6]]), torch.zeros(1, 2)


def test_takes_over_after_the_patience_and_stays() -> None:
    loss = switch_on_plateau(FocalL2Loss(), patience=2)
    told = [loss.step(value) for value in (1.0, 0.5, 0.5, 0.4999, 0.1, 0.01)]
    assert told == [False, False, False, True, False, False]
    assert loss.switched
    torch.testing.assert_close(loss(INPUT, TARGET), FocalL2Loss()(INPUT, TARGET))


def test_is_the_plain_loss_while_that_falls() -> None:
    loss = switch_on_plateau(FocalL2Loss("printed"), patience=2)
    for value in (1.0, 0.9, 0.95, 0.8, 0.85, 0.7):
        loss.step(value)
    assert not loss.switched
    torch.testing.assert_close(loss(INPUT, TARGET), nn.functional.mse_loss(INPUT, TARGET))


def test_a_resumed_training_switches_in_the_same_epoch() -> None:
    values = (1.0, 0.5, 0.6, 0.55, 0.52)
    whole, before, after = (switch_on_plateau(FocalL2Loss(), nn.L1Loss(), patience=3) for _ in range(3))
    for value in values[:3]:
        before.step(value)
    after.load_state_dict(before.state_dict())
    assert [after.step(value) for value in values[3:]] == [whole.step(value) for value in values][3:] == [False, True]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_values_that_are_no_losses_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected a finite number from 0"):
        switch_on_plateau(FocalL2Loss()).step(value)


@pytest.mark.parametrize(("options", "message"), [({"patience": 0}, "patience is 0"), ({"least": 1.0}, "least is 1.0")])
def test_options_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SwitchOnPlateau(nn.L1Loss(), nn.MSELoss(), **options)
