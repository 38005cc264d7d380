"""The loss of U-Net: softmax cross entropy with a weight for every voxel, higher in narrow gaps between objects."""

from __future__ import annotations

from torch import Tensor
from torch.nn.modules.loss import _Loss

from medseg._arguments import checked_arguments
from medseg.losses._cross_entropy import check_weight, class_indices, voxel_cross_entropy
from medseg.losses.rank_sums import mean_over_ranks, sum_over_ranks

__all__ = ["BorderWeightedCrossEntropyLoss"]

REDUCTIONS = ("mean", "sum", "none")


@checked_arguments
class BorderWeightedCrossEntropyLoss(_Loss):
    """``E = - sum_x w(x) log p_{l(x)}(x)`` where p is the softmax over the channels and l the true class.

    The weights w are part of the data: `medseg.transforms.BorderWeightMapd` computes them once from the label map,
    before the random transforms, which then transform image, label and weights together.

    Source: Ronneberger, Fischer and Brox, U-Net, 2015, equation 1 (printed there without its sign).

    Args:
        reduction: ``"sum"`` is the published form, ``"mean"`` divides it by the number of voxels in the batch, so that
            the learning rate does not depend on the size of the patches, ``"none"`` returns ``[B, 1, *S]``.

    Raises:
        ValueError: for an unknown reduction.

    Example:
        >>> logits, target = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
        >>> weight = torch.full((1, 1, 4, 4), 2.0)
        >>> BorderWeightedCrossEntropyLoss()(logits, target, weight)
        tensor(1.3863)
    """

    reduces_over_ranks = True

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"BorderWeightedCrossEntropyLoss: reduction is {reduction!r}; expected one of {', '.join(REDUCTIONS)}"
            )
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The weighted loss.

        Args:
            input: logits ``[B, C, *S]``, C at least 2.
            target: class indices ``[B, 1, *S]``.
            weight: weights ``[B, 1, *S]``, 0 or more.

        Returns:
            A scalar, or ``[B, 1, *S]`` without reduction.

        Raises:
            ValueError: for shapes that do not match, or labels that have no channel.
        """
        name = type(self).__name__
        indices = class_indices(name, input, target)
        check_weight(name, "weight", weight, target)
        entropy = voxel_cross_entropy(input, indices)
        loss = entropy * weight.to(entropy)
        if self.reduction == "none":
            return loss
        return sum_over_ranks(loss.sum())[0] if self.reduction == "sum" else mean_over_ranks(loss)
