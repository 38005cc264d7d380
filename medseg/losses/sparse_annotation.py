"""Cross entropy for training from sparse annotation: unlabelled voxels have weight 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medseg._arguments import checked_arguments
from medseg.losses._cross_entropy import check_weight, class_indices, voxel_cross_entropy
from medseg.losses.rank_sums import sum_over_ranks

__all__ = ["SparseAnnotationCrossEntropyLoss"]


@checked_arguments
class SparseAnnotationCrossEntropyLoss(_Loss):
    """Weighted softmax cross entropy, averaged over the labelled voxels of the batch.

    A few annotated slices of a volume are then enough to train a dense segmentation. Unlabelled voxels are marked by a
    value of the target, by a mask (see `medseg.transforms.SparseAnnotationMaskd`), or by both. Logits of unlabelled
    voxels have no influence and get no gradient, whatever their values. A batch without a labelled voxel gives 0.

    Source: Cicek, Abdulkadir, Lienkamp, Brox and Ronneberger, 3D U-Net, 2016: weight 0 for unlabelled voxels, a lower
    weight for the frequent background.

    Args:
        unlabelled: value of the target at unlabelled voxels, such as 255. None: only the mask marks them.
        class_weights: one weight per class, 0 or more; None: 1 for all classes. The loss is divided by the sum of the
            weights of all voxels, as in torch's cross entropy.

    Raises:
        ValueError: for weights that are negative or not finite, or an ``unlabelled`` that is not a whole number.

    Example:
        >>> logits = torch.tensor([[[[3.0, 0.0]], [[0.0, 0.0]]]])
        >>> target = torch.tensor([[[[0, 255]]]])
        >>> SparseAnnotationCrossEntropyLoss(unlabelled=255)(logits, target)
        tensor(0.0486)
    """

    reduces_over_ranks = True
    class_weights: Tensor | None

    def __init__(self, unlabelled: int | None = 255, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if class_weights is not None and not all(0 <= w < math.inf for w in class_weights):
            raise ValueError(
                f"SparseAnnotationCrossEntropyLoss: class_weights is {list(class_weights)}; expected numbers from 0, "
                "all finite"
            )
        if unlabelled is not None and not float(unlabelled).is_integer():
            raise ValueError(
                f"SparseAnnotationCrossEntropyLoss: unlabelled is {unlabelled}; expected a whole number or None"
            )
        self.unlabelled = unlabelled
        weights = None if class_weights is None else torch.tensor([float(w) for w in class_weights])
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean loss of labelled voxels.

        Args:
            input: logits ``[B, C, *S]``, C at least 2.
            target: class indices ``[B, 1, *S]``.
            mask: weights ``[B, 1, *S]``, bool or numbers of 0 or more; 0 at unlabelled voxels. None: 1 everywhere.

        Returns:
            A scalar.

        Raises:
            ValueError: for shapes that do not match, labels that have no channel, or if neither a value nor a mask
                marks the unlabelled voxels.
        """
        name = type(self).__name__
        if self.unlabelled is None and mask is None:
            raise ValueError(
                f"{name}: unlabelled is None and there is no mask; give one of them, or use CrossEntropyLoss"
            )
        ignored = torch.zeros_like(target, dtype=torch.bool) if self.unlabelled is None else target == self.unlabelled
        if mask is not None:
            check_weight(name, "mask", mask, target)
            ignored = ignored | (mask == 0)
        indices = class_indices(name, input, target, ignored)
        weights = self.class_weights
        if weights is not None and len(weights) != input.shape[1]:
            raise ValueError(
                f"{name}: class_weights has {len(weights)} entries; expected {input.shape[1]}, one per class"
            )
        # Filled before the softmax: an infinite logit times weight 0 would make the gradient NaN.
        entropy = voxel_cross_entropy(input.masked_fill(ignored, 0), indices, weights)
        weight = (~ignored).to(entropy) if mask is None else mask.to(entropy).masked_fill(ignored, 0)
        counted = weight if weights is None else weight * weights.to(entropy)[indices.clamp(min=0)][:, None]
        total, divisor = sum_over_ranks((entropy * weight).sum(), counted.sum())
        return total / torch.where(divisor > 0, divisor, 1)
