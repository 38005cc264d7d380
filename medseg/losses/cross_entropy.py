"""Torch's cross entropies, correct also when the batch is divided among several processes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from medseg.losses._cross_entropy import check_not_empty, in_float32
from medseg.losses.rank_sums import mean_over_ranks, ratio_over_ranks, several_ranks, sum_over_ranks

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss"]


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss` whose mean is taken over the samples of all processes.

    In one process it is torch's. In several, the weighted sum and the sum of the weights are added over the processes
    before they are divided: with class weights or ignored voxels, the mean of the processes' means is another number.

    Args:
        *args: those of `torch.nn.CrossEntropyLoss`, also by name.

    Example:
        >>> loss = CrossEntropyLoss(weight=torch.tensor([0.5, 2.0]), ignore_index=255)
        >>> loss(torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, 255]]]))
        tensor(0.6931)
    """

    reduces_over_ranks = True

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of the joint batch.

        Args:
            input: logits ``[B, C, *S]``.
            target: class indices ``[B, *S]``, or probabilities ``[B, C, *S]``.

        Returns:
            A scalar in float32 (float64 for float64 logits); without reduction ``[B, *S]`` of this process.

        Raises:
            ValueError: if the input is empty.
        """
        check_not_empty(type(self).__name__, input)
        input = in_float32(input)
        weight = None if self.weight is None else self.weight.to(input)
        own = self.reduction == "none" or not several_ranks()
        loss = F.cross_entropy(
            input,
            target,
            weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction if own else "sum",
            label_smoothing=self.label_smoothing,
        )
        if own:
            return loss
        if self.reduction == "sum":
            return sum_over_ranks(loss)[0]
        return ratio_over_ranks(loss, self._divisor(input, target, weight))

    def _divisor(self, input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor | float:
        """What torch divides the sum by: the weights of the voxels that count, or their number."""
        if target.shape == input.shape:
            return target.numel() / target.shape[1]
        counts = target != self.ignore_index
        if weight is None:
            return counts.sum()
        return weight[target.masked_fill(~counts, 0).long()].masked_fill(~counts, 0).sum()


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """`torch.nn.BCEWithLogitsLoss` whose mean is taken over the samples of all processes, also of unequal numbers.

    Args:
        *args: those of `torch.nn.BCEWithLogitsLoss`, also by name.

    Example:
        >>> BCEWithLogitsLoss()(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        tensor(0.6931)
    """

    reduces_over_ranks = True

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of the joint batch.

        Args:
            input: logits of any shape.
            target: probabilities of the same shape.

        Returns:
            A scalar in float32 (float64 for float64 logits); without reduction, values of the shape of the input, of
            this process.

        Raises:
            ValueError: if the input is empty.
        """
        check_not_empty(type(self).__name__, input)
        input = in_float32(input)
        target = target.to(input)
        weight, positive = (None if w is None else w.to(input) for w in (self.weight, self.pos_weight))
        own = self.reduction == "none" or not several_ranks()
        reduction = self.reduction if own else "none"
        values = F.binary_cross_entropy_with_logits(input, target, weight, pos_weight=positive, reduction=reduction)
        if own:
            return values
        return sum_over_ranks(values.sum())[0] if self.reduction == "sum" else mean_over_ranks(values)
