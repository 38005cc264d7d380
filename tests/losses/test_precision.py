"""All losses reduce in float32 or wider: 16-bit inputs give the value of the same numbers in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from medseg.losses import (
    ActiveMacs,
    BorderWeightedCrossEntropyLoss,
    CostPenalty,
    FocalCrossEntropyLoss,
    FocalL2Loss,
    SparseAnnotationCrossEntropyLoss,
    SparsityLoss,
    SwitchOnPlateau,
    VNetDiceLoss,
    switch_on_plateau,
)

SIZE = (64, 64, 64)  # 262,144 voxels: their number does not fit in float16
LABEL = (torch.arange(64) % 3 > 0).float().expand(1, 1, *SIZE).contiguous()
BOTH = torch.cat([1 - LABEL, LABEL], 1)

# The loss, its first argument in float32, its further arguments.
CASES: dict[str, tuple[Callable[..., Tensor], Tensor, tuple[Any, ...]]] = {
    "VNetDiceLoss": (VNetDiceLoss(softmax=True, to_onehot_y=True), torch.empty(1, 2, *SIZE), (LABEL,)),
    "VNetDiceLoss-sigmoid": (VNetDiceLoss(sigmoid=True), torch.empty(1, 1, *SIZE), (LABEL.half(),)),
    "VNetDiceLoss-jaccard": (VNetDiceLoss(softmax=True, jaccard=True), torch.empty(1, 2, *SIZE), (BOTH.half(),)),
    "FocalCrossEntropyLoss": (FocalCrossEntropyLoss(0.5), torch.empty(1, 2, *SIZE), (LABEL,)),
    "BorderWeighted": (
        BorderWeightedCrossEntropyLoss("sum"),
        torch.empty(1, 2, *SIZE),
        (LABEL, torch.full((1, 1, *SIZE), 7.0).half()),
    ),
    "SparseAnnotation": (
        SparseAnnotationCrossEntropyLoss(None),
        torch.empty(1, 2, *SIZE),
        (LABEL, torch.full((1, 1, *SIZE), 7.0).half()),
    ),
    "FocalL2Loss": (FocalL2Loss(), torch.empty(1, 1, *SIZE), (LABEL.half(),)),
    "SparsityLoss": (SparsityLoss(), torch.empty(1, SIZE[0] ** 3), ()),
    "SparsityLoss-paper": (SparsityLoss(reduction="paper"), torch.empty(1, SIZE[0] ** 3), ()),
    "SwitchOnPlateau": (SwitchOnPlateau(FocalL2Loss(), FocalL2Loss()), torch.empty(1, 1, *SIZE), (LABEL.half(),)),
}


def filled(like: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers that a 16-bit type holds exactly."""
    random = torch.Generator().manual_seed(0)
    return (torch.randint(0, 9, like.shape, generator=random) / 8).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_16_bit_inputs_give_the_value_of_float32(name: str, dtype: torch.dtype) -> None:
    loss, like, rest = CASES[name]
    exact = filled(like, torch.float32).requires_grad_()
    expected = loss(exact, *(r.float() for r in rest))
    expected.backward()
    short = filled(like, dtype).requires_grad_()
    found = loss(short, *rest)
    found.backward()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    assert short.grad.isfinite().all()
    torch.testing.assert_close(short.grad.float(), exact.grad, rtol=2**-7, atol=2**-23)


@pytest.mark.parametrize("name", CASES)
def test_autocast_changes_nothing(name: str) -> None:
    loss, like, rest = CASES[name]
    expected = loss(filled(like, torch.float16), *rest)
    with torch.autocast("cpu", dtype=torch.float16):
        found = loss(filled(like, torch.float16), *rest)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_the_mean_squared_error_of_values_beyond_256_does_not_overflow() -> None:
    prediction, target = torch.full((1, 8), 60000.0).half(), torch.zeros(1, 8).half()
    assert FocalL2Loss(gamma=0)(prediction, target).item() == pytest.approx(1 - 1e-6)
    assert switch_on_plateau(FocalL2Loss())(prediction, target).item() == pytest.approx(60000.0**2, rel=1e-3)


def test_multiply_adds_are_summed_in_float32() -> None:
    costs = [ActiveMacs(torch.tensor(60000.0).half(), 60000)] * 4
    assert CostPenalty(budget=0.5, weight=1)(costs).item() == pytest.approx(1.0)
