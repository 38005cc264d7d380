"""The Dice loss of V-Net against its printed value and gradient."""

from __future__ import annotations

import pytest
import torch

from medseg.losses import VNetDiceLoss


def test_value_and_gradient_are_the_printed_ones() -> None:
    p = torch.rand(1, 1, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    g = (torch.rand(1, 1, 4, 5, 6) > 0.6).double()
    loss = VNetDiceLoss(smooth_nr=0, smooth_dr=0)(p, g)
    loss.backward()
    with torch.no_grad():
        squares, product = (p**2).sum() + (g**2).sum(), (p * g).sum()
        dice = 2 * product / squares
        slope = 2 * (g * squares - 2 * p * product) / squares**2
    torch.testing.assert_close(loss, 1 - dice)
    torch.testing.assert_close(p.grad, -slope)


def test_a_right_answer_costs_nothing_and_an_empty_one_neither() -> None:
    target = torch.zeros(1, 1, 4, 4)
    assert VNetDiceLoss()(target, target).item() == pytest.approx(0)
    target[..., 1:3] = 1
    assert VNetDiceLoss()(target, target).item() == pytest.approx(0)
    assert VNetDiceLoss()(1 - target, target).item() == pytest.approx(1, abs=1e-5)


def test_takes_the_options_of_the_dice_loss() -> None:
    logits, label = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 1, 4, 4))
    p = logits.softmax(1)[:, 1:]
    g = torch.nn.functional.one_hot(label[:, 0], 3).movedim(-1, 1)[:, 1:].float()
    dice = 2 * (p * g).sum((2, 3)) / ((p**2).sum((2, 3)) + (g**2).sum((2, 3)))
    loss = VNetDiceLoss(softmax=True, to_onehot_y=True, include_background=False, smooth_nr=0, smooth_dr=0)
    torch.testing.assert_close(loss(logits, label), (1 - dice).mean())


def test_another_denominator_is_another_loss() -> None:
    with pytest.raises(ValueError, match=r"squared_pred is False; .* use monai.losses.DiceLoss"):
        VNetDiceLoss(squared_pred=False)
