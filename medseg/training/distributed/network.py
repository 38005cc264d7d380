"""The network of one process, its gradients averaged with those of the others."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medseg.training.distributed.ranks import processes

__all__ = ["in_parallel"]


def in_parallel(network: nn.Module) -> nn.Module:
    """The network in `torch.nn.parallel.DistributedDataParallel`; as it is in a single process.

    Give it to the trainer only. Files of weights and the validation take the network itself, so that the names of its
    weights have no prefix and no process waits for the others while it validates.

    Args:
        network: on its device, with the same layers in all processes; the first process's weights are sent to all.

    >>> network = nn.Linear(2, 1)
    >>> in_parallel(network) is network
    True
    """
    return DistributedDataParallel(network) if processes() > 1 else network
