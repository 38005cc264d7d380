"""Keep the weights of the best validation score."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from ignite.engine import Engine, Events

from medseg.io.bounded.weights import save_weights

__all__ = ["BestWeightsSaver"]

_LOG = logging.getLogger(__name__)


class BestWeightsSaver:
    """Ignite handler for a MONAI evaluator: writes a plain state dict whenever the key metric improves.

    Unlike MONAI's ``CheckpointSaver``, the file is replaced atomically, so a run that is stopped while it saves never
    leaves a broken ``model.pt``.

    Args:
        network: the module whose weights are kept.
        path: target file; an earlier run's file there is replaced at this run's first validation.

    >>> import torch
    >>> from ignite.engine import Engine
    >>> evaluator = Engine(lambda engine, batch: None)
    >>> saver = BestWeightsSaver(torch.nn.Linear(2, 1), "model.pt")
    >>> saver.attach(evaluator)  # an evaluator of MONAI states its key metric
    """

    def __init__(self, network: torch.nn.Module, path: str | Path) -> None:
        self.network = network
        self.path = Path(path)
        self.best: float | None = None

    def attach(self, engine: Engine) -> None:
        """Run after every completed evaluation of ``engine``."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save if ``engine.state.metrics[key_metric_name]`` is the highest so far; a NaN score never counts as best."""
        score = float(engine.state.metrics[engine.state.key_metric_name])
        if score != score or (self.best is not None and score <= self.best):
            return
        self.best = score
        save_weights(self.network, self.path)
        _LOG.info("best %s so far %.4f: weights saved to %s", engine.state.key_metric_name, score, self.path)
