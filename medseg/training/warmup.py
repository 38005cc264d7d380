"""Warm-up of sparse downsampling: in the first epochs patches are chosen by their norm, not by the evaluator."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch import nn

from medseg.training.evaluator_parameters import sparse_layers

__all__ = ["SparseWarmup"]


class SparseWarmup:
    """Sets the ``warm`` flag of all `SparseDownsample` layers at the start of every epoch.

    Ignite handler (`attach`); in another training loop, call it with the number of the epoch. The flag is in the state
    dict, so a saved network evaluates as it was trained.

    Args:
        network: a network with `SparseDownsample` layers.
        epochs: number of warm-up epochs; a third of all epochs is a good choice.

    Raises:
        ValueError: if there is no such layer, or epochs is negative.

    >>> from torch import nn
    >>> from medseg.layers import SparseDownsample
    >>> network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), SparseDownsample(2, channels=3, patch=4))
    >>> warmup = SparseWarmup(network, epochs=5)
    >>> warmup(epoch=1)
    >>> network[1].warm
    True
    >>> warmup(epoch=6)
    >>> network[1].warm
    False
    """

    def __init__(self, network: nn.Module, epochs: int) -> None:
        if epochs < 0:
            raise ValueError(f"SparseWarmup: epochs is {epochs}; expected at least 0")
        self.layers = list(sparse_layers(network).values())
        self.epochs = epochs

    def attach(self, engine: Engine) -> None:
        """Run before every epoch of the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda e: self(e.state.epoch))

    def __call__(self, epoch: int) -> None:
        """Set the flag for an epoch, the first being 1."""
        for layer in self.layers:
            layer.warm = epoch <= self.epochs
