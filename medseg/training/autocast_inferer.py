"""Mixed precision on the CPU, which MONAI's engines do not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from medseg._arguments import checked_arguments

__all__ = ["AutocastInferer"]


@checked_arguments
class AutocastInferer(Inferer):
    """Run the network in bfloat16 on a CPU, around another inferer.

    MONAI's engines have automatic mixed precision on CUDA alone: with ``amp`` they run a CPU in float32 and do not say
    so. On another device than the CPU, and with ``enabled`` off, this inferer changes nothing.

    Args:
        inferer: calls the network, such as ``SimpleInferer`` or ``SlidingWindowInferer``.
        enabled: whether bfloat16 is used on a CPU.

    >>> from monai.inferers import SimpleInferer
    >>> network = torch.nn.Conv2d(1, 1, 1)
    >>> AutocastInferer(SimpleInferer(), enabled=True)(torch.ones(1, 1, 2, 2), network).dtype
    torch.float32
    """

    def __init__(self, inferer: Callable[..., Any], enabled: bool = True) -> None:
        self.inferer, self.enabled = inferer, enabled

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The result of the inferer, in float32, so that losses and metrics add up in it."""
        if not self.enabled or inputs.device.type != "cpu":
            return self.inferer(inputs, network, *args, **kwargs)
        with torch.autocast("cpu", torch.bfloat16):
            result = self.inferer(inputs, network, *args, **kwargs)
        return result.float() if isinstance(result, Tensor) else result
