"""Sliding windows for networks with two classes, with one value a voxel instead of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor

__all__ = ["ForegroundInferer"]


class ForegroundInferer(SlidingWindowInferer):
    """MONAI's sliding window that blends the foreground logit of a two-class network.

    For two classes, softmax(a, b) of the foreground is sigmoid(b - a), and a weighted mean of differences is the
    difference of weighted means. So only b - a is blended: half the memory of the blended logits, and the sigmoid of
    the result is the foreground probability that the blended logits give. A network with one output channel is taken as
    it is.

    Args:
        args: those of `monai.inferers.SlidingWindowInferer`.
        kwargs: those of `monai.inferers.SlidingWindowInferer`.

    >>> inferer = ForegroundInferer(roi_size=(8, 8, 8), overlap=0.25, mode="gaussian")
    >>> network = torch.nn.Conv3d(1, 2, 1)
    >>> inferer(torch.zeros(1, 1, 12, 12, 12), network).shape
    torch.Size([1, 1, 12, 12, 12])
    """

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Run the network on windows of the inputs.

        Args:
            inputs: ``[B, C, *spatial]``.
            network: gives logits ``[B, 2, *window]``, background first, or ``[B, 1, *window]``.
            args: further arguments of the network.
            kwargs: further arguments of the network.

        Returns:
            Foreground logits ``[B, 1, *spatial]``: 0 where both classes are equally likely.

        Raises:
            ValueError: for a network with another number of classes.
        """

        def foreground(windows: Tensor, *more: Any, **named: Any) -> Tensor:
            return _foreground_logit(network(windows, *more, **named))

        result: Tensor = super().__call__(inputs, foreground, *args, **kwargs)
        return result


def _foreground_logit(logits: Any) -> Tensor:
    if not isinstance(logits, torch.Tensor) or logits.shape[1] > 2:
        found = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(
            f"ForegroundInferer: the network returned {found}; expected [B, 2, ...] (background and foreground) or "
            "[B, 1, ...]; use monai.inferers.SlidingWindowInferer for more classes"
        )
    return logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits
