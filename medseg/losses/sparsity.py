"""A loss that drives uninformative patches of a feature map to zero and leaves strong ones almost alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from medseg.layers import SparseDownsample

__all__ = ["SparsityLoss", "collect_patch_norms"]

_LIMIT = 80.0  # exp of it still is a float32


def collect_patch_norms(network: nn.Module) -> list[Tensor]:
    """Patch norms of the last call of every `SparseDownsample` built with ``keep_norms``, in the order of the modules.

    Args:
        network: a network after its forward pass.

    Returns:
        Tensors ``[B, N]`` with their gradient.

    Raises:
        ValueError: if no layer keeps norms, or one has not run yet.

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


class SparsityLoss(_Loss):
    """Sparsity of patches by their L1 norms x_i.

    With rectify(x) = 1 - x / eps below eps and -0.01 (x - eps) from eps on, "paper" is exp(-sum_i rectify(x_i)) per
    sample (the exponent in float64, clamped to -80..80 so that float32 neither overflows nor vanishes; at the clamp the
    gradient is 0), and "mean" is minus the mean of rectify(x_i): the same pull at any number of patches.

    Use it with the literal surrogate (``SparseDownsample(evaluator="slots", surrogate="paper")``): weight 0.03, eps 0.6
    and mean norms let that form train. With the softmax surrogate it did harm in trials; leave it out there.

    Args:
        eps: norm below which a patch is pushed to zero, above 0, in the unit of the norms.
        reduction: "mean" or "paper".
        weight: factor of the loss.

    Raises:
        ValueError: for other values.

    Example:
        >>> SparsityLoss(eps=0.5, weight=1.0)(torch.tensor([[0.0, 0.5]]))
        tensor(-0.5000)
    """

    def __init__(self, eps: float = 0.6, reduction: str = "mean", weight: float = 0.03) -> None:
        super().__init__()
        if not eps > 0:
            raise ValueError(f"SparsityLoss: eps is {eps}; expected more than 0")
        if reduction not in ("mean", "paper"):
            raise ValueError(f"SparsityLoss: reduction is {reduction!r}; expected 'mean' or 'paper'")
        self.eps, self.reduction, self.weight = eps, reduction, weight

    def rectify(self, x: Tensor) -> Tensor:
        """1 at 0, 0 at eps, then falling with slope 0.01."""
        return torch.where(x < self.eps, 1 - x / self.eps, -0.01 * (x - self.eps))

    def forward(self, norms: Tensor | Sequence[Tensor]) -> Tensor:
        """Mean of the loss over layers and samples.

        Args:
            norms: ``[B, N]`` of one layer, or a list of them (see `collect_patch_norms`).

        Returns:
            A scalar.

        Raises:
            ValueError: if there are no norms.
        """
        layers = [norms] if isinstance(norms, Tensor) else list(norms)
        if not layers:
            raise ValueError("SparsityLoss: no norms; expected [B, N] of at least one layer")
        return self.weight * torch.stack([self._layer(n) for n in layers]).mean()

    def _layer(self, norms: Tensor) -> Tensor:
        if self.reduction == "mean":
            return -self.rectify(norms).mean()
        exponent = -self.rectify(norms.double()).sum(-1)
        return exponent.clamp(-_LIMIT, _LIMIT).exp().mean().to(norms.dtype)
