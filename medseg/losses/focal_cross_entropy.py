"""Focal cross entropy: voxels that are already right count little."""

from __future__ import annotations

from collections.abc import Sequence

from monai.losses import FocalLoss
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medseg.losses._cross_entropy import class_indices

__all__ = ["FocalCrossEntropyLoss"]


class FocalCrossEntropyLoss(_Loss):
    """``-alpha (1 - p)^gamma log p`` with p the soft-max of the true class, averaged over the voxels.

    The terms are those of MONAI's `FocalLoss` with ``use_softmax=True``. Two things differ: MONAI divides by voxels
    times classes, and gives a single alpha to the foreground and 1 - alpha to the background. Here gamma 0 and alpha 1
    is the ordinary cross entropy, and a single alpha is a factor of all classes, as the formula has it.

    Source: Liu et al., 3D Anisotropic Hybrid Network, 2018, after Lin et al., Focal Loss, 2017.

    Args:
        gamma: exponent, from 0; the larger, the less easy voxels count.
        alpha: factor of all classes, or one for every class.

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
            ValueError: for shapes or labels that do not fit, or an alpha of another number of classes.
        """
        name, classes = type(self).__name__, input.shape[1]
        class_indices(name, input, target)
        alpha = self.alpha * classes if len(self.alpha) == 1 else self.alpha
        if len(alpha) != classes:
            raise ValueError(f"{name}: alpha has {len(alpha)} entries; expected {classes}, one per class")
        focal = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=self.gamma, alpha=alpha)
        return focal(input, target) * classes
