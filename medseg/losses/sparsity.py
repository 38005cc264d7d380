"""A loss that drives weak patches of a feature map to zero and changes strong patches very little."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from medseg._arguments import checked_arguments
from medseg.layers import SparseDownsample
from medseg.losses._cross_entropy import check_not_empty, clamped, in_float32
from medseg.losses.rank_sums import mean_over_ranks

__all__ = ["SparsityLoss", "collect_patch_norms"]

_LIMIT = 80.0  # exp(80) still fits in float32


def collect_patch_norms(network: nn.Module) -> list[Tensor]:
    """Patch norms of the last call of every `SparseDownsample` that has ``keep_norms``, in the order of the modules.

    Args:
        network: a network after its forward pass.

    Returns:
        Tensors ``[B, N]``, part of the graph for the gradient.

    Raises:
        ValueError: if no layer keeps norms, or a layer has not run yet.

    Example:
        >>> from medseg.layers import SparseDownsample
        >>> network = torch.nn.Sequential(SparseDownsample(2, 3, 4, keep_norms="mean"))
        >>> features = network(torch.ones(1, 3, 16, 16))
        >>> [norms.shape for norms in collect_patch_norms(network)]
        [torch.Size([1, 16])]
    """
    layers = [m for m in network.modules() if isinstance(m, SparseDownsample) and m.keep_norms is not None]
    if not layers:
        raise ValueError("collect_patch_norms: no SparseDownsample keeps norms; build it with keep_norms='mean'")
    norms = [layer.patch_norms for layer in layers]
    if any(n is None for n in norms):
        raise ValueError("collect_patch_norms: a SparseDownsample has not run yet; call the network first")
    return [n for n in norms if n is not None]


@checked_arguments
class SparsityLoss(_Loss):
    """Sparsity of patches, computed from their L1 norms x_i.

    Let rectify(x) be 1 - x / eps for x below eps, and -0.01 (x - eps) otherwise. Reduction "paper" is
    exp(-sum_i rectify(x_i)) per sample; the exponent is computed in float64 and clamped to -80..80, so that float32
    neither overflows nor becomes 0, and beyond these limits the gradient is 0. Reduction "mean" is minus the mean of
    rectify(x_i); its strength does not depend on the number of patches.

    Use the loss with the surrogate gradient of the paper (``SparseDownsample(evaluator="slots", surrogate="paper")``):
    with weight 0.03, eps 0.6 and mean norms, that form can be trained. In our trials the loss made results with the
    softmax surrogate worse; do not use it there.

    Args:
        eps: patches with a smaller norm are driven to zero; above 0, in the unit of the norms.
        reduction: "mean" or "paper".
        weight: factor of the loss.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> SparsityLoss(eps=0.5, weight=1.0)(torch.tensor([[0.0, 0.5]]))
        tensor(-0.5000)
    """

    reduces_over_ranks = True

    def __init__(self, eps: float = 0.6, reduction: str = "mean", weight: float = 0.03) -> None:
        super().__init__()
        if not 1e-30 <= eps < math.inf:
            raise ValueError(f"SparsityLoss: eps is {eps}; expected more than 0 (1e-30 or more) and finite")
        if not math.isfinite(weight):
            raise ValueError(f"SparsityLoss: weight is {weight}; expected a finite number")
        if reduction not in ("mean", "paper"):
            raise ValueError(f"SparsityLoss: reduction is {reduction!r}; expected 'mean' or 'paper'")
        self.eps, self.reduction, self.weight = eps, reduction, weight

    def rectify(self, x: Tensor) -> Tensor:
        """1 at 0, 0 at eps, and from there decreasing with slope 0.01."""
        return torch.where(x < self.eps, 1 - x / self.eps, -0.01 * (x - self.eps))

    def forward(self, norms: Tensor | Sequence[Tensor]) -> Tensor:
        """Mean of the loss over layers and samples.

        Args:
            norms: ``[B, N]`` of one layer, or a list of such tensors (see `collect_patch_norms`).

        Returns:
            A scalar, in float32 (float64 for float64 norms).

        Raises:
            ValueError: if there are no norms, or those of a layer are empty.
        """
        layers = [norms] if isinstance(norms, Tensor) else list(norms)
        if not layers:
            raise ValueError("SparsityLoss: no norms; expected [B, N] of at least one layer")
        return self.weight * torch.stack([self._layer(n) for n in layers]).mean()

    def _layer(self, norms: Tensor) -> Tensor:
        check_not_empty("SparsityLoss", norms)
        norms = in_float32(norms)
        if self.reduction == "mean":
            return -mean_over_ranks(self.rectify(norms))
        exponent = -self.rectify(norms.double()).sum(-1)
        return mean_over_ranks(clamped(exponent, -_LIMIT, _LIMIT).exp()).to(norms.dtype)
