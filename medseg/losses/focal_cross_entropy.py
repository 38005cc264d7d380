"""Focal cross entropy: voxels that are classified correctly with confidence have little weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medseg._arguments import checked_arguments
from medseg.losses._cross_entropy import class_indices, in_float32
from medseg.losses.rank_sums import mean_over_ranks

__all__ = ["FocalCrossEntropyLoss"]

_MOST_GAMMA = 1000.0


@checked_arguments
class FocalCrossEntropyLoss(_Loss):
    """``-alpha (1 - p)^gamma log p``, where p is the softmax of the true class, averaged over the voxels.

    The terms are those of MONAI's `FocalLoss` with ``use_softmax=True``. There are three differences. MONAI divides by
    the number of voxels times the number of classes. It applies a single alpha to the foreground and 1 - alpha to the
    background; here, a single alpha is a factor of all classes, as in the formula, and gamma 0 with alpha 1 gives the
    ordinary cross entropy. MONAI's gradient is NaN at voxels with p = 1 if gamma is between 0 and 1; here,
    ``log(1 - p)`` is computed from the logits of the other classes, so that loss and gradient are finite for all finite
    logits.

    Source: Liu et al., 3D Anisotropic Hybrid Network, 2018, after Lin et al., Focal Loss, 2017.

    Args:
        gamma: exponent, 0 to 1000; the larger it is, the smaller is the weight of easy voxels.
        alpha: factor of all classes, or one factor per class.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> logits = torch.tensor([[[[4.0, 0.0]], [[0.0, 0.0]]]])
        >>> target = torch.zeros(1, 1, 1, 2)
        >>> [round(float(FocalCrossEntropyLoss(gamma)(logits, target)), 4) for gamma in (0, 1, 2)]
        [0.3556, 0.1735, 0.0866]
    """

    reduces_over_ranks = True

    def __init__(self, gamma: float = 2.0, alpha: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        factors = [float(alpha)] if isinstance(alpha, float | int) else [float(a) for a in alpha]
        if not 0 <= gamma <= _MOST_GAMMA or not all(0 <= a < math.inf for a in factors):
            raise ValueError(
                f"FocalCrossEntropyLoss: gamma is {gamma} and alpha {alpha}; expected numbers from 0, gamma up to "
                f"{_MOST_GAMMA:g} and alpha finite"
            )
        self.gamma, self.alpha = float(gamma), factors

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The mean loss.

        Args:
            input: logits ``[B, C, *S]``, C at least 2.
            target: class indices ``[B, 1, *S]``.

        Returns:
            A scalar, in float32 (float64 for float64 logits).

        Raises:
            ValueError: for shapes that do not match, labels that have no channel, or an alpha that does not have one
                entry per class.
        """
        name, classes = type(self).__name__, input.shape[1]
        indices = class_indices(name, input, target)[:, None]
        alpha = self.alpha * classes if len(self.alpha) == 1 else self.alpha
        if len(alpha) != classes:
            raise ValueError(f"{name}: alpha has {len(alpha)} entries; expected {classes}, one per class")
        logits = in_float32(input)
        total = logits.logsumexp(1, keepdim=True)
        log_p = logits.gather(1, indices) - total
        own = torch.zeros_like(logits, dtype=torch.bool).scatter(1, indices, True)
        log_rest = logits.masked_fill(own, -math.inf).logsumexp(1, keepdim=True) - total
        return -mean_over_ranks(logits.new_tensor(alpha)[indices] * (self.gamma * log_rest).exp() * log_p)
