"""The weighted cross entropy of U-Net, written out by hand and against torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from medseg.losses import BorderWeightedCrossEntropyLoss
from medseg.transforms import BorderWeightMap


def test_equals_the_sum_written_out() -> None:
    logits = torch.tensor([[[[0.0, 1.0]], [[2.0, -1.0]]]])
    target, weight = torch.tensor([[[[1, 0]]]]), torch.tensor([[[[3.0, 0.5]]]])
    first = -3.0 * math.log(math.exp(2) / (1 + math.exp(2)))
    second = -0.5 * math.log(math.exp(1) / (math.exp(1) + math.exp(-1)))
    assert BorderWeightedCrossEntropyLoss("sum")(logits, target, weight).item() == pytest.approx(first + second)
    assert BorderWeightedCrossEntropyLoss()(logits, target, weight).item() == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 5)])
def test_unit_weights_give_the_plain_cross_entropy(size: tuple[int, ...]) -> None:
    logits, target = torch.randn(2, 3, *size), torch.randint(3, (2, 1, *size))
    found = BorderWeightedCrossEntropyLoss()(logits, target, torch.ones(2, 1, *size))
    torch.testing.assert_close(found, F.cross_entropy(logits, target[:, 0]))


def test_takes_the_weight_map_and_pulls_hardest_in_the_gap_between_objects() -> None:
    label = torch.zeros(1, 16, 16)
    label[:, 2:14, 2:7] = label[:, 2:14, 8:14] = 1
    weight = torch.as_tensor(BorderWeightMap(class_weights=None)(label))[None]
    logits = torch.zeros(1, 2, 16, 16, requires_grad=True)
    BorderWeightedCrossEntropyLoss()(logits, label[None], weight).backward()
    pull = logits.grad[0, 0].abs()
    assert pull[8, 7] == pull[label[0] == 0].max() > 5 * pull[0, 0]


def test_gradient_is_exact() -> None:
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    target, weight = torch.randint(3, (2, 1, 4, 4)), torch.rand(2, 1, 4, 4).double()
    assert torch.autograd.gradcheck(lambda x: BorderWeightedCrossEntropyLoss()(x, target, weight), (logits,))


def test_half_precision_logits_are_summed_in_single_precision() -> None:
    logits, target, weight = torch.randn(1, 2, 64, 64), torch.randint(2, (1, 1, 64, 64)), torch.rand(1, 1, 64, 64)
    found = BorderWeightedCrossEntropyLoss("sum")(logits.bfloat16(), target, weight)
    assert found.dtype == torch.float32
    expected = BorderWeightedCrossEntropyLoss("sum")(logits.bfloat16().double(), target, weight)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("logits", "target", "weight", "message"),
    [
        ((1, 1, 4, 4), (1, 1, 4, 4), (1, 1, 4, 4), "expected .* one channel per class, C >= 2"),
        ((1, 2, 4, 4), (1, 2, 4, 4), (1, 2, 4, 4), r"target has shape \[1, 2, 4, 4\]; expected \[1, 1, 4, 4\]"),
        ((1, 2, 4, 4), (1, 1, 4, 4), (1, 4, 4), r"weight has shape \[1, 4, 4\]; expected \[1, 1, 4, 4\]"),
    ],
)
def test_shapes_that_do_not_fit_are_named(logits: tuple, target: tuple, weight: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BorderWeightedCrossEntropyLoss()(torch.zeros(logits), torch.zeros(target), torch.zeros(weight))


def test_labels_without_a_channel_are_named() -> None:
    target = torch.full((1, 1, 4, 4), 7)
    with pytest.raises(ValueError, match="labels from 7 to 7; expected 0 to 1"):
        BorderWeightedCrossEntropyLoss()(torch.zeros(1, 2, 4, 4), target, torch.ones(1, 1, 4, 4))


def test_reductions_that_do_not_exist_are_named() -> None:
    with pytest.raises(ValueError, match="reduction is 'batch'; expected one of mean, sum, none"):
        BorderWeightedCrossEntropyLoss("batch")
