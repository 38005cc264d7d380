"""Targets of class indices: whole numbers only; weight maps: finite numbers of 0 or more only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from medseg.losses import (
    BorderWeightedCrossEntropyLoss,
    FocalCrossEntropyLoss,
    SparseAnnotationCrossEntropyLoss,
    VNetDiceLoss,
)

LOGITS = torch.zeros(1, 2, 8, 8)
LOGITS[:, 1] = 5
ONES = torch.ones(1, 1, 8, 8)

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "border": lambda target: BorderWeightedCrossEntropyLoss()(LOGITS, target, ONES),
    "focal": lambda target: FocalCrossEntropyLoss()(LOGITS, target),
    "sparse": lambda target: SparseAnnotationCrossEntropyLoss()(LOGITS, target),
    "sparse-mask": lambda target: SparseAnnotationCrossEntropyLoss(None)(LOGITS, target, ONES),
    "dice": lambda target: VNetDiceLoss(softmax=True, to_onehot_y=True)(LOGITS, target),
    "dice-ignore": lambda target: VNetDiceLoss(softmax=True, to_onehot_y=True, ignore_index=255)(LOGITS, target),
}


def with_value(value: float) -> Tensor:
    target = ONES.clone()
    target[0, 0, 2, 3] = value
    return target


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [0.99, 0.5, 1.0001, float("nan"), float("inf")])
def test_a_target_that_is_not_a_whole_number_is_refused_with_value_and_place(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"Loss: target contains {value:.6g} at \[0, 0, 2, 3\], expected whole") as e:
        LOSSES[name](with_value(value))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", LOSSES)
def test_a_label_without_a_channel_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="target holds labels from 1 to 2; expected 0 to 1"):
        LOSSES[name](with_value(2))
    with pytest.raises(ValueError, match="target holds labels from -1 to 1; expected 0 to 1"):
        LOSSES[name](with_value(-1).long())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.uint16, torch.bool])
def test_whole_numbers_of_every_type_give_one_value(name: str, dtype: torch.dtype) -> None:
    target = with_value(0)
    torch.testing.assert_close(LOSSES[name](target.to(dtype)), LOSSES[name](target.long()))
    torch.testing.assert_close(float(LOSSES[name](MetaTensor(target.to(dtype)))), float(LOSSES[name](target.long())))


def test_fractions_where_nobody_has_labelled_do_not_matter() -> None:
    target, mask = with_value(0.5), with_value(0)
    found = SparseAnnotationCrossEntropyLoss(None)(LOGITS, target, mask)
    torch.testing.assert_close(found, SparseAnnotationCrossEntropyLoss(None)(LOGITS, ONES, mask))


WEIGHTED: dict[str, Callable[[Any], Tensor]] = {
    "border": lambda weight: BorderWeightedCrossEntropyLoss()(LOGITS, ONES, weight),
    "sparse": lambda weight: SparseAnnotationCrossEntropyLoss(None)(LOGITS, ONES, weight),
    "sparse-value": lambda weight: SparseAnnotationCrossEntropyLoss(255)(LOGITS, ONES, weight),
}


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize(("value", "span"), [(-2.0, "-2 to 1"), (torch.nan, "nan to nan"), (torch.inf, "1 to inf")])
def test_weights_that_are_negative_or_not_finite_are_refused(name: str, value: float, span: str) -> None:
    with pytest.raises(ValueError, match=rf"(weight|mask) holds values from {span}; expected finite weights of 0"):
        WEIGHTED[name](with_value(value))


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_every_type_are_taken(name: str) -> None:
    weight = with_value(0)
    for dtype in (torch.bool, torch.uint8, torch.float16, torch.float64):
        torch.testing.assert_close(WEIGHTED[name](weight.to(dtype)), WEIGHTED[name](weight))
