"""Mean squared error with a weight that depends on the error itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medseg._arguments import checked_arguments
from medseg.losses._cross_entropy import check_not_empty, clamped, in_float32
from medseg.losses.rank_sums import mean_over_ranks

__all__ = ["FocalL2Loss"]

FORMS = ("hard", "printed")
_LEAST = 1e-6
_MOST_LOG = math.log(torch.finfo(torch.float32).max)


@checked_arguments
class FocalL2Loss(_Loss):
    """Focal loss of a regression: each sample's mean squared error D times a weight that depends on D.

    ``hard`` is ``(D / D_max)^gamma D``: samples with a large error have the highest weight, as in a focal loss.
    ``printed`` is ``(ln D / ln D_max)^gamma D``, the formula in the source. It does the opposite of its stated purpose:
    ``|ln D|`` grows as D decreases, so *small* errors get a higher weight (with D_max 0.9 and gamma 2, an error of 0.1
    becomes 47.761, and one of 0.8 becomes 3.588). It is included for comparison.

    D is clamped to 1e-6 ... 1 - 1e-6. Outside of this range the gradient is 0, so scale the targets to 0 ... 1. If a D
    is not finite, the loss is not finite.

    Source: Liu et al., 3D Anisotropic Hybrid Network, 2018; the form ``hard`` is medseg's.

    Args:
        form: ``"hard"`` or ``"printed"``.
        gamma: exponent, 0 or more; with 0 both forms are the mean squared error.
        d_max: largest error expected, between 0 and 1.

    Raises:
        ValueError: for values out of range, or a gamma so large that float32 cannot hold the loss or its gradient for
            all errors.

    Example:
        >>> prediction, target = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.3, 0.3]])
        >>> round(float(FocalL2Loss("hard", gamma=2.0)(prediction, target)), 6)
        0.0009
        >>> round(float(FocalL2Loss(gamma=0.0)(prediction, target)), 6)
        0.09
    """

    reduces_over_ranks = True

    def __init__(self, form: str = "hard", gamma: float = 2.0, d_max: float = 0.9) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"FocalL2Loss: form is {form!r}; expected 'hard' or 'printed'")
        if not 0 < d_max < 1:
            raise ValueError(f"FocalL2Loss: d_max is {d_max}; expected a number between 0 and 1")
        if not 0 <= gamma < math.inf:
            raise ValueError(f"FocalL2Loss: gamma is {gamma}; expected a number from 0 that is finite")
        # The weight is largest at the largest error of the hard form, and at the smallest of the printed form.
        ratio = 1 / d_max if form == "hard" else math.log(_LEAST) / math.log(d_max)
        if gamma * math.log(max(ratio, 1)) + math.log((1 + gamma) / _LEAST) > _MOST_LOG:
            raise ValueError(
                f"FocalL2Loss: gamma is {gamma} and d_max {d_max}; the weights reach {ratio:.3g}^{gamma:g}, more than "
                "float32 can hold: use a smaller gamma"
            )
        self.form, self.gamma, self.d_max = form, float(gamma), float(d_max)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The mean over samples.

        Args:
            input: prediction ``[B, ...]``.
            target: values of the same shape.

        Returns:
            A scalar.

        Raises:
            ValueError: if the shapes differ, or the input is empty.
        """
        if input.shape != target.shape:
            raise ValueError(
                f"FocalL2Loss: input has shape {list(input.shape)}, target {list(target.shape)}; expected equal ones"
            )
        check_not_empty("FocalL2Loss", input)
        # In 16 bits a square overflows from 256 on, and 1 - 1e-6 is 1.
        error = (in_float32(input) - in_float32(target)).square().flatten(1).mean(1)
        error = clamped(error, _LEAST, 1 - _LEAST)
        ratio = error / self.d_max if self.form == "hard" else error.log() / math.log(self.d_max)
        return mean_over_ranks(ratio**self.gamma * error)
