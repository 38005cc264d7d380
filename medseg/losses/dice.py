"""MONAI's Dice losses, correct also when the batch is divided among several processes."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import monai.losses
import torch
from monai.losses.utils import compute_tp_fp_fn, mask_loss_inputs
from monai.metrics.utils import create_ignore_mask
from monai.networks import one_hot
from torch import Tensor

from medseg.losses._cross_entropy import check_not_empty, checked_labels, in_float32
from medseg.losses.cross_entropy import BCEWithLogitsLoss, CrossEntropyLoss
from medseg.losses.rank_sums import mean_over_ranks, several_ranks, sum_over_ranks

__all__ = ["DiceCELoss", "DiceLoss"]


class DiceLoss(monai.losses.DiceLoss):
    """`monai.losses.DiceLoss` of the samples of all processes.

    In one process it is MONAI's. In several, the sums of ``batch=True`` (intersection, prediction and label of every
    class) are added over the processes before they are divided, so two processes give the loss and the gradient of one
    process with the doubled batch. The mean over samples (``batch=False``) counts every sample of every process once.

    Args:
        **options: those of `monai.losses.DiceLoss`.

    Example:
        >>> logits, target = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]]), torch.tensor([[[[0, 1]]]])
        >>> round(float(DiceLoss(softmax=True, to_onehot_y=True, batch=True)(logits, target)), 4)
        0.0
    """

    reduces_over_ranks = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of the joint batch, computed in float32 (float64 for float64 input), also under autocast.

        Args:
            input: logits or probabilities ``[B, C, *S]``.
            target: one channel of class indices ``[B, 1, *S]`` with ``to_onehot_y=True``, else ``[B, C, *S]``.

        Returns:
            A scalar. Without reduction: one value per class (``batch=True``), or per sample and class of this process.

        Raises:
            ValueError: if the input is empty, or class indices are not whole numbers or have no channel.
        """
        check_not_empty(type(self).__name__, input)
        if self.to_onehot_y and input.shape[1] > 1:
            ignored = None if self.ignore_index is None else target == self.ignore_index
            checked_labels(type(self).__name__, target, input.shape[1], ignored)
        with torch.autocast(input.device.type, enabled=False):
            return self._loss(in_float32(input), in_float32(target))

    def _loss(self, input: Tensor, target: Tensor) -> Tensor:
        if not several_ranks():
            return super().forward(input, target)
        if self.batch:
            values = self._weighted(self._joint_values(input, target))
            if self.reduction == "none":
                return values.reshape(-1, *[1] * (input.ndim - 2))
            return values.sum() if self.reduction == "sum" else values.mean()
        single = copy.copy(self)
        single.reduction = "none"
        values = monai.losses.DiceLoss.forward(single, input, target)
        if self.reduction == "none":
            return values
        return sum_over_ranks(values.sum())[0] if self.reduction == "sum" else mean_over_ranks(values)

    def _joint_values(self, input: Tensor, target: Tensor) -> Tensor:
        """One minus the Dice of every class, from sums over all samples of all processes."""
        prediction, label = self._prepared(input, target)
        if prediction.shape != label.shape:
            raise ValueError(
                f"{type(self).__name__}: target has shape {list(label.shape)} after one-hot encoding; expected "
                f"{list(prediction.shape)}, as the input: give labels in one channel with to_onehot_y=True"
            )
        axes = [axis for axis in range(prediction.ndim) if axis != 1]
        order = 2 if self.squared_pred else 1
        sums = compute_tp_fp_fn(prediction, label, axes, order, self.soft_label)
        hit, extra, missed = sum_over_ranks(*sums)
        half = 1.0 if self.jaccard else 0.5
        denominator = 2 * (hit + half * (extra + missed)) + self.smooth_dr
        values: Tensor = 1 - (2 * hit + self.smooth_nr) / denominator
        return values

    def _prepared(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and one-hot labels, both without ignored voxels and, if it is left out, without background."""
        classes, labels = input.shape[1], target
        if self.sigmoid:
            input = torch.sigmoid(input)
        if self.softmax and classes > 1:
            input = torch.softmax(input, 1)
        if self.other_act is not None:
            input = self.other_act(input)
        if self.to_onehot_y and classes > 1:
            if self.ignore_index is not None and not 0 <= self.ignore_index < classes:
                target = target.masked_fill(target == self.ignore_index, 0)
            target = one_hot(target, num_classes=classes, dtype=input.dtype)
        if not self.include_background and classes > 1:
            input, target = input[:, 1:], target[:, 1:]
        return mask_loss_inputs(input, target, self.ignore_index, mask=create_ignore_mask(labels, self.ignore_index))

    def _weighted(self, values: Tensor) -> Tensor:
        weight = self.class_weight
        if weight is None or len(values) == 1:
            return values
        if weight.ndim and len(weight) != len(values):
            raise ValueError(
                f"{type(self).__name__}: weight has {len(weight)} entries; expected {len(values)}, one per class that "
                "counts (without the background if include_background is False)"
            )
        return values * weight.to(values)


class DiceCELoss(monai.losses.DiceCELoss):
    """`monai.losses.DiceCELoss`, Dice plus cross entropy, of the samples of all processes.

    In one process it is MONAI's. In several, all sums are added over the processes (see `DiceLoss` and
    `CrossEntropyLoss`), also with ``batch=True`` or class weights.

    Args:
        **options: those of `monai.losses.DiceCELoss`.

    Example:
        >>> loss = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
        >>> logits, target = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]]), torch.tensor([[[[0, 1]]]])
        >>> round(float(loss(logits, target)), 4)
        0.0
    """

    reduces_over_ranks = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        given = inspect.signature(monai.losses.DiceCELoss).bind(**options)
        given.apply_defaults()
        values = given.arguments
        reduction, weight, smoothing = values["reduction"], values["weight"], values["label_smoothing"]
        shared = set(inspect.signature(monai.losses.DiceLoss).parameters) & set(values)
        values["weight"] = weight if weight is None or values["include_background"] else weight[1:]
        self.dice = DiceLoss(**{name: values[name] for name in shared})
        self.cross_entropy = CrossEntropyLoss(weight=weight, reduction=reduction, label_smoothing=smoothing)
        self.binary_cross_entropy = BCEWithLogitsLoss(pos_weight=weight, reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of the joint batch, computed in float32 (float64 for float64 input), also under autocast.

        Args:
            input: logits ``[B, C, *S]``.
            target: one channel of class indices ``[B, 1, *S]`` with ``to_onehot_y=True``, else ``[B, C, *S]``.

        Returns:
            A scalar.

        Raises:
            ValueError: if the input is empty, or class indices are not whole numbers or have no channel.
        """
        check_not_empty(type(self).__name__, input)
        with torch.autocast(input.device.type, enabled=False):
            loss: Tensor = super().forward(in_float32(input), target)
        return loss
