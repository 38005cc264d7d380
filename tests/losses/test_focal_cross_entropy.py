"""Focal cross entropy against its formula written out and the plain cross entropy."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medseg.losses import FocalCrossEntropyLoss


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, (1.0, 2.0, 0.5)), (0.0, 1.0)])
def test_equals_the_formula(gamma: float, alpha: float | tuple[float, ...]) -> None:
    logits, label = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 1, 4, 5))
    p = logits.softmax(1).gather(1, label)
    factor = torch.as_tensor(alpha).expand(3)[label]
    expected = (-factor * (1 - p) ** gamma * p.log()).mean()
    torch.testing.assert_close(FocalCrossEntropyLoss(gamma, alpha)(logits, label), expected)


def test_without_focus_it_is_the_cross_entropy() -> None:
    logits, label = torch.randn(2, 4, 3, 4, 5), torch.randint(4, (2, 1, 3, 4, 5))
    torch.testing.assert_close(FocalCrossEntropyLoss(0)(logits, label), F.cross_entropy(logits, label[:, 0]))


def test_right_voxels_count_less_the_larger_gamma() -> None:
    logits, label = torch.tensor([[[[3.0]], [[0.0]]]]), torch.zeros(1, 1, 1, 1)
    values = [FocalCrossEntropyLoss(gamma)(logits, label).item() for gamma in (0, 1, 2)]
    assert values[0] > 10 * values[1] > 100 * values[2] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"gamma": -1}, "gamma is -1"), ({"alpha": (1, -1)}, "expected numbers from 0")],
)
def test_options_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FocalCrossEntropyLoss(**options)


def test_input_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="alpha has 3 entries; expected 2, one per class"):
        FocalCrossEntropyLoss(alpha=(1, 1, 1))(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="labels from 0 to 2; expected 0 to 1"):
        FocalCrossEntropyLoss()(torch.zeros(1, 2, 1, 2), torch.tensor([[[[0, 2]]]]))
