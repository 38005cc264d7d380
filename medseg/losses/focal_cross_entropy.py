"""Focal cross entropy: voxels that are classified correctly with confidence have little weight."""

from __future__ import annotations

from collections.abc import Sequence

from monai.losses import FocalLoss
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medseg.losses._cross_entropy import class_indices

__all__ = ["FocalCrossEntropyLoss"]


class FocalCrossEntropyLoss(_Loss):
    """``-alpha (1 - p)^gamma log p``, where p is the softmax of the true class, averaged over the voxels.

    The terms are those of MONAI's `FocalLoss` with ``use_softmax=True``. There are two differences: MONAI divides
    by the number of voxels times the number of classes, and applies a single alpha to the foreground and 1 - alpha to
    the background. Here, gamma 0 and alpha 1 give the ordinary cross entropy, and a single alpha is a factor of all
    classes, as in the formula.

    Source: Liu et al., 3D Anisotropic Hybrid Network, 2018, after Lin et al., Focal Loss, 2017.

    Args:
        gamma: exponent, 0 or more; the larger it is, the smaller is the weight of easy voxels.
        alpha: factor of all classes, or one factor per class.

    Raises:
        ValueError: for negative numbers.

    Example:
        >>> logits = torch.tensor([[[[4.0, 0.0]], [[0.0, 0.0]]]])
        >>> target = torch.zeros(1, 1, 1, 2)
        >>> [round(float(FocalCrossEntropyLoss(gamma)(logits, target)), 4) for gamma in (0, 1, 2)]
        [0.3556, 0.1735, 0.0866]
    """

    def __init__(self, gamma: float = 2.0, alpha: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        factors = [float(alpha)] if isinstance(alpha, float | int) else [float(a) for a in alpha]
        if not gamma >= 0 or not all(a >= 0 for a in factors):
            raise ValueError(f"FocalCrossEntropyLoss: gamma is {gamma} and alpha {alpha}; expected numbers from 0")
        self.gamma, self.alpha = float(gamma), factors

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The mean loss.

        Args:
            input: logits ``[B, C, *S]``, C at least 2.
            target: class indices ``[B, 1, *S]``.

        Returns:
            A scalar, in float32.

        Raises:
            ValueError: for shapes that do not match, labels that have no channel, or an alpha that does not have one
                entry per class.
        """
        name, classes = type(self).__name__, input.shape[1]
        class_indices(name, input, target)
        alpha = self.alpha * classes if len(self.alpha) == 1 else self.alpha
        if len(alpha) != classes:
            raise ValueError(f"{name}: alpha has {len(alpha)} entries; expected {classes}, one per class")
        focal = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=self.gamma, alpha=alpha)
        return focal(input, target) * classes
