"""A gradient of zero for parameters that a call did not use, so that networks train on several devices."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["in_process_group", "keep_gradients"]


def keep_gradients(x: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
    """The values of a tensor, which now also gives each parameter a gradient of zero.

    `torch.nn.parallel.DistributedDataParallel` stops if a parameter has no gradient after a call. Layers with optional
    parts hand the parameters of the parts that a call skips to this function. In evaluation without gradients, in a
    trace and in an export it does nothing.

    Args:
        x: any tensor of floating values that the result of the call depends on; a small one costs least.
        parameters: those that the call may not have used.

    Returns:
        A tensor that equals x.
    """
    if not torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_exporting():
        return x
    # A sum over no values is 0 whatever the parameter holds (0 * inf would be NaN), and so is its gradient.
    zeros = [p.unsqueeze(0).narrow(0, 0, 0).sum().to(x) for p in parameters if p.requires_grad]
    return x + torch.stack(zeros).sum() if zeros else x


def in_process_group() -> bool:
    """Whether this process trains together with others, as with `torch.nn.parallel.DistributedDataParallel`."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
