"""Loss and gradient are finite over the whole documented range of every argument; other arguments are refused."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from medseg.losses import (
    ActiveMacs,
    CostPenalty,
    FocalCrossEntropyLoss,
    FocalL2Loss,
    SparseAnnotationCrossEntropyLoss,
    SparsityLoss,
    SwitchOnPlateau,
    VNetDiceLoss,
)


def assert_finite(loss: Tensor, leaf: Tensor) -> None:
    loss.backward()
    assert loss.isfinite(), loss
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all(), leaf.grad


@pytest.mark.parametrize("gamma", [0.0, 1e-6, 0.5, 1.0, 2.0, 1000.0])
@pytest.mark.parametrize("sure", [1e-3, 60.0, 1e4, 1e30])
def test_focal_cross_entropy_of_voxels_that_are_sure_right_or_sure_wrong(gamma: float, sure: float) -> None:
    logits = (torch.tensor([[[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]]]) * sure).requires_grad_()
    assert_finite(FocalCrossEntropyLoss(gamma)(logits, torch.tensor([[[0, 0, 0]]])), logits)


@pytest.mark.parametrize("gamma", [0.25, 0.5, 0.9])
def test_the_gradient_of_a_sure_voxel_is_the_limit_of_less_sure_ones(gamma: float) -> None:
    # With q = 1 - p small the loss of one voxel is q^(1 + gamma), and q = exp(-2 s) for logits s and -s.
    for s in (3.0, 5.0, 7.0):
        logits = torch.tensor([[[s], [-s]]], dtype=torch.float64, requires_grad=True)
        FocalCrossEntropyLoss(gamma)(logits, torch.tensor([[[0]]])).backward()
        slope = -(1 + gamma) * torch.exp(torch.tensor(-2 * s * (1 + gamma)))
        assert logits.grad[0, 0, 0].item() == pytest.approx(slope.item(), rel=1e-2)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("jaccard", [False, True])
@pytest.mark.parametrize("smooth", [(0, 0), (1e-5, 1e-5), (0, 1e-30), (1.0, 1.0)])
def test_dice_of_a_class_that_is_nowhere(smooth: tuple[float, float], jaccard: bool, reduction: str) -> None:
    prediction = torch.zeros(1, 2, 4, 4)
    prediction[:, 0] = 1
    prediction.requires_grad_()
    loss = VNetDiceLoss(smooth_nr=smooth[0], smooth_dr=smooth[1], jaccard=jaccard, reduction=reduction)
    assert_finite(loss(prediction, prediction.detach()).sum(), prediction)


def test_dice_without_smoothing_counts_empty_against_empty_as_right() -> None:
    empty = torch.zeros(1, 1, 4, 4)
    assert VNetDiceLoss(smooth_nr=0, smooth_dr=0)(empty, empty).item() == 0
    assert VNetDiceLoss(smooth_nr=0, smooth_dr=0)(empty + 1, empty).item() == 1


@pytest.mark.parametrize("options", [{"smooth_dr": -1}, {"smooth_nr": torch.nan}, {"smooth_dr": 0}])
def test_smoothing_without_a_value_is_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=r"VNetDiceLoss: smooth_nr is .* and smooth_dr .*; expected finite numbers"):
        VNetDiceLoss(**options)


@pytest.mark.parametrize("form", ["hard", "printed"])
def test_focal_l2_is_finite_or_refused_when_it_is_made(form: str) -> None:
    made = 0
    for gamma, d_max in itertools.product((0, 1e-6, 0.5, 2, 10, 50, 1e4, 1e300), (1e-9, 1e-3, 0.5, 0.999, 1 - 1e-12)):
        try:
            loss = FocalL2Loss(form, gamma, d_max)
        except ValueError as error:
            assert "more than float32 can hold" in str(error)
            continue
        made += 1
        for error in (0.0, 1e-6, 1e-3, 0.5, 0.999999, 1.0, 1e4):
            prediction = torch.full((1, 3), error**0.5).requires_grad_()
            assert_finite(loss(prediction, torch.zeros(1, 3)), prediction)
    assert made > 20


@pytest.mark.parametrize("reduction", ["mean", "paper"])
@pytest.mark.parametrize("eps", [1e-30, 0.6, 1e30])
def test_sparsity_at_every_scale_of_the_norms(reduction: str, eps: float) -> None:
    norms = torch.tensor([[0.0, 1e-30, 0.6, 1e4]]).requires_grad_()
    assert_finite(SparsityLoss(eps, reduction)(norms), norms)


@pytest.mark.parametrize("budget", [1e-6, 1.0])
def test_the_cost_penalty_at_the_ends_of_its_budget(budget: float) -> None:
    active = torch.tensor(90.0, requires_grad=True)
    assert_finite(CostPenalty(budget)([ActiveMacs(active, 100)]), active)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FocalCrossEntropyLoss(gamma=torch.inf), "gamma is inf and alpha 1.0; expected numbers from 0, gamma"),
        (lambda: FocalCrossEntropyLoss(gamma=torch.nan), "gamma is nan"),
        (lambda: FocalCrossEntropyLoss(alpha=(1, torch.nan)), r"alpha \(1, nan\)"),
        (lambda: FocalL2Loss(gamma=torch.inf), "gamma is inf; expected a number from 0 that is finite"),
        (lambda: SparsityLoss(eps=torch.inf), "eps is inf; expected more than 0"),
        (lambda: SparsityLoss(weight=torch.nan), "weight is nan; expected a finite number"),
        (lambda: CostPenalty(budget=1e-9), "budget is 1e-09; expected a share above 0"),
        (lambda: CostPenalty(weight=torch.inf), "weight is inf"),
        (lambda: SparseAnnotationCrossEntropyLoss(class_weights=(1, torch.inf)), "expected numbers from 0, all finite"),
        (lambda: SparseAnnotationCrossEntropyLoss(254.5), "unlabelled is 254.5; expected a whole number or None"),
        (lambda: SwitchOnPlateau(torch.nn.MSELoss(), torch.nn.MSELoss(), patience=2.5), "patience is 2.5"),
    ],
)
def test_arguments_out_of_range_are_one_line(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
