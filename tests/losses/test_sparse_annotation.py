"""Cross entropy of sparsely annotated volumes: what is unlabelled has no influence at all."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medseg.losses import SparseAnnotationCrossEntropyLoss
from medseg.transforms import SparseAnnotationMask


@pytest.mark.parametrize("class_weights", [None, (0.2, 1.0, 3.0)])
def test_equals_torch_with_an_ignored_label(class_weights: tuple[float, ...] | None) -> None:
    logits, target = torch.randn(2, 3, 4, 5, 6), torch.randint(3, (2, 1, 4, 5, 6))
    target[:, :, :, :, 2:] = 255
    weights = None if class_weights is None else torch.tensor(class_weights)
    expected = F.cross_entropy(logits, target[:, 0], weights, ignore_index=255)
    found = SparseAnnotationCrossEntropyLoss(class_weights=class_weights)(logits, target)
    torch.testing.assert_close(found, expected)


def test_a_mask_of_annotated_slices_does_what_the_value_does() -> None:
    logits, label = torch.randn(1, 2, 4, 5, 6), torch.randint(2, (1, 1, 4, 5, 6))
    mask = torch.as_tensor(SparseAnnotationMask(slices={2: [1, 4]})(label[0]))[None]
    marked = label.clone()
    marked[mask == 0] = 255
    by_value = SparseAnnotationCrossEntropyLoss()(logits, marked)
    torch.testing.assert_close(SparseAnnotationCrossEntropyLoss(None)(logits, label, mask), by_value)
    torch.testing.assert_close(SparseAnnotationCrossEntropyLoss()(logits, marked, mask.bool()), by_value)


def test_fractional_weights_average() -> None:
    logits, target = torch.randn(1, 2, 1, 2), torch.tensor([[[[0, 1]]]])
    each = F.cross_entropy(logits, target[:, 0], reduction="none")[0, 0]
    found = SparseAnnotationCrossEntropyLoss(None)(logits, target, torch.tensor([[[[0.25, 0.75]]]]))
    torch.testing.assert_close(found, 0.25 * each[0] + 0.75 * each[1])


@pytest.mark.parametrize("wild", [torch.inf, torch.nan])
def test_unlabelled_logits_have_neither_influence_nor_gradient(wild: float) -> None:
    logits, target = torch.randn(1, 2, 4, 4), torch.randint(2, (1, 1, 4, 4))
    target[..., 1:] = 255
    calm = SparseAnnotationCrossEntropyLoss()(logits, target)
    logits[..., 1:] = wild
    logits.requires_grad_()
    loss = SparseAnnotationCrossEntropyLoss()(logits, target)
    loss.backward()
    torch.testing.assert_close(loss, calm)
    assert logits.grad[..., 0].all()
    assert not logits.grad[..., 1:].any()


def test_nothing_labelled_costs_nothing() -> None:
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = SparseAnnotationCrossEntropyLoss()(logits, torch.full((1, 1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_gradient_is_exact() -> None:
    logits, target = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True), torch.randint(3, (1, 1, 4, 4))
    target[..., 2:] = 255
    loss = SparseAnnotationCrossEntropyLoss(class_weights=(0.5, 1, 2))
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits,))


def test_bad_input_is_named() -> None:
    logits, target = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="there is no mask; give one of them"):
        SparseAnnotationCrossEntropyLoss(None)(logits, target)
    with pytest.raises(ValueError, match="labels from 0 to 9; expected 0 to 1"):
        SparseAnnotationCrossEntropyLoss()(logits, torch.tensor([0, 9] * 8).reshape(1, 1, 4, 4))
    with pytest.raises(ValueError, match="class_weights has 3 entries; expected 2"):
        SparseAnnotationCrossEntropyLoss(class_weights=(1, 1, 1))(logits, target)
    with pytest.raises(ValueError, match="expected numbers from 0"):
        SparseAnnotationCrossEntropyLoss(class_weights=(1, -1))
