"""Warm-up of sparse downsampling: for the first epochs the norm of the patches chooses, not the evaluator."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch import nn

from medseg.training.evaluator_parameters import sparse_layers

__all__ = ["SparseWarmup"]


class SparseWarmup:
    """Sets the ``warm`` flag of all `SparseDownsample` layers at the start of every epoch.

    Ignite handler (`attach`), or called by hand with the epoch in any other loop. The flag is in the state dict: a
    saved network evaluates as it trained.

    Args:
        network: a network with `SparseDownsample` layers.
        epochs: epochs of warm-up; a third of the training is a good length.

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
