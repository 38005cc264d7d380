"""Optimiser settings for sparse downsampling: evaluators have a small learning rate and no weight decay."""

from __future__ import annotations

from typing import Any

from torch import nn

from medseg.layers import SparseDownsample

__all__ = ["evaluator_parameter_groups", "sparse_layers"]


def sparse_layers(network: nn.Module) -> dict[str, SparseDownsample]:
    """The `SparseDownsample` layers of a network by their names, in the order of the modules.

    Args:
        network: any module.

    Returns:
        Name to layer.

    Raises:
        ValueError: if there is none.

    >>> from torch import nn
    >>> from medseg.layers import SparseDownsample
    >>> network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), SparseDownsample(2, channels=3, patch=4))
    >>> list(sparse_layers(network))
    ['1']
    """
    found = {name: m for name, m in network.named_modules() if isinstance(m, SparseDownsample)}
    if not found:
        raise ValueError(f"{type(network).__name__} has no SparseDownsample layer; nothing to set or to watch")
    return found


def evaluator_parameter_groups(
    network: nn.Module, lr: float, weight_decay: float = 0.0, evaluator_scale: float = 0.2
) -> list[dict[str, Any]]:
    """Two parameter groups for a torch optimiser: the network's, and the patch evaluators'.

    Args:
        network: a network with `SparseDownsample` layers.
        lr: learning rate of the network.
        weight_decay: weight decay of the network; the evaluators' is 0.
        evaluator_scale: learning rate of the evaluators, relative to that of the network.

    Returns:
        ``[{"params", "lr", "weight_decay"}, ...]``; the second group is left out where no layer has an evaluator.

    Raises:
        ValueError: if there is no such layer, or the scale is negative.

    >>> from torch import nn
    >>> from medseg.layers import SparseDownsample
    >>> network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), SparseDownsample(2, channels=3, patch=4))
    >>> groups = evaluator_parameter_groups(network, lr=0.01, weight_decay=0.1)
    >>> [(group["lr"], group["weight_decay"]) for group in groups]
    [(0.01, 0.1), (0.002, 0.0)]
    """
    if evaluator_scale < 0:
        raise ValueError(f"evaluator_scale is {evaluator_scale}; expected at least 0")
    evaluators = [layer.evaluator for layer in sparse_layers(network).values() if layer.evaluator is not None]
    chosen = {id(p): p for e in evaluators for p in e.parameters()}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    groups = [{"params": rest, "lr": lr, "weight_decay": weight_decay}]
    if chosen:
        groups.append({"params": list(chosen.values()), "lr": lr * evaluator_scale, "weight_decay": 0.0})
    return groups
