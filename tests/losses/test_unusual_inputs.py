"""Losses of unusual inputs: infinite predictions stay visible, empty ones are refused, integers are taken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import medseg.losses
from medseg.losses import (
    AcrossRanks,
    ActiveMacs,
    BCEWithLogitsLoss,
    BorderWeightedCrossEntropyLoss,
    CostPenalty,
    CrossEntropyLoss,
    DiceCELoss,
    DiceLoss,
    FocalCrossEntropyLoss,
    FocalL2Loss,
    SparseAnnotationCrossEntropyLoss,
    SparsityLoss,
    VNetDiceLoss,
    switch_on_plateau,
)


def labels(x: Tensor) -> Tensor:
    return torch.ones_like(x[:, :1], dtype=torch.float32)


def quarter(x: Tensor) -> Tensor:
    return torch.full(x.shape, 0.25)


# Each loss as a function of its prediction [B, 2, H, W] alone.
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "AcrossRanks": lambda x: AcrossRanks(DiceCELoss(to_onehot_y=True, softmax=True))(x, labels(x)),
    "BCEWithLogitsLoss": lambda x: BCEWithLogitsLoss()(x, quarter(x)),
    "BorderWeightedCrossEntropyLoss": lambda x: BorderWeightedCrossEntropyLoss()(x, labels(x), labels(x)),
    "CostPenalty": lambda x: CostPenalty(0.1)([ActiveMacs(a, 1) for a in x.flatten()]),
    "CrossEntropyLoss": lambda x: CrossEntropyLoss(torch.tensor([1.0, 2.0]))(x, labels(x)[:, 0].long()),
    "DiceCELoss": lambda x: DiceCELoss(to_onehot_y=True, softmax=True, batch=True)(x, labels(x)),
    "DiceLoss": lambda x: DiceLoss(to_onehot_y=True, softmax=True, batch=True)(x, labels(x)),
    "FocalCrossEntropyLoss": lambda x: FocalCrossEntropyLoss()(x, labels(x)),
    "FocalL2Loss": lambda x: FocalL2Loss()(x, quarter(x)),
    "SparseAnnotationCrossEntropyLoss": lambda x: SparseAnnotationCrossEntropyLoss()(x, labels(x)),
    "SparsityLoss": lambda x: SparsityLoss()(x.flatten(1)),
    "SparsityLoss, paper": lambda x: SparsityLoss(reduction="paper")(x.flatten(1)),
    "SwitchOnPlateau": lambda x: switch_on_plateau(FocalL2Loss())(x, quarter(x)),
    "VNetDiceLoss": lambda x: VNetDiceLoss(softmax=True, to_onehot_y=True)(x, labels(x)),
}
WITHOUT_PREDICTION = {"ActiveMacs", "collect_patch_norms", "record_active_macs", "switch_on_plateau"}
IMAGE = torch.rand(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))


def test_every_public_loss_is_here() -> None:
    assert {name.split(",")[0] for name in LOSSES} | WITHOUT_PREDICTION == set(medseg.losses.__all__)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", LOSSES)
def test_a_prediction_that_is_not_finite_gives_no_ordinary_loss(name: str, value: float) -> None:
    prediction = IMAGE.clone()
    prediction[0, 0, 3, 3] = value
    assert not LOSSES[name](prediction).isfinite()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_to_average_is_refused_in_one_line(name: str) -> None:
    for empty in (IMAGE[:0], IMAGE[..., :0]):
        with pytest.raises(ValueError, match=r"empty; expected at least one|no costs") as caught:
            LOSSES[name](empty)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", LOSSES)
def test_integers_and_other_layouts_give_the_loss_of_float32(name: str) -> None:
    whole = (8 * IMAGE).round()
    for other in (whole.to(torch.int16), whole.repeat_interleave(2, -1)[..., ::2], whole.mT.contiguous().mT):
        torch.testing.assert_close(LOSSES[name](other), LOSSES[name](whole), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_every_floating_type_gives_the_loss_of_float32_and_finite_gradients(name: str, dtype: torch.dtype) -> None:
    exact = (8 * IMAGE).round() / 8
    prediction = exact.to(dtype).requires_grad_()
    loss = LOSSES[name](prediction)
    torch.testing.assert_close(loss.float(), LOSSES[name](exact), rtol=1e-5, atol=1e-6)
    loss.backward()
    assert prediction.grad is not None and prediction.grad.isfinite().all()
