"""Keep the weights of the best validation score."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import torch
from ignite.engine import Engine, Events

from medseg.io.bounded.safetensors_file import SUFFIX
from medseg.io.bounded.weights import save_weights
from medseg.training.weights_files import set_aside

__all__ = ["BestWeightsSaver"]

_LOG = logging.getLogger(__name__)


class BestWeightsSaver:
    """Ignite handler for a MONAI evaluator: writes a plain state dict whenever the key metric improves.

    Unlike MONAI's ``CheckpointSaver``, the file is replaced atomically, so a run that is stopped while it saves never
    leaves a broken ``model.pt``. A score that is undefined (NaN) or infinite neither wins nor loses: nothing is saved.

    Args:
        network: the module whose weights are kept.
        path: target file; an earlier run's file there is renamed (``model.earlier-1.pt``) before the first save.
        safetensors: also write the same weights beside it as ``NAME.safetensors``, for tools that take no pickles.

    Attributes:
        name: name of the metric, known from the first validation on.
        best: the best score, None before the first one.
        epoch: the epoch that it belongs to.
        earlier_run: name of the run that wrote a file which is in the way, if it is known.

    >>> import torch
    >>> from ignite.engine import Engine
    >>> evaluator = Engine(lambda engine, batch: None)
    >>> saver = BestWeightsSaver(torch.nn.Linear(2, 1), "model.pt")
    >>> saver.attach(evaluator)  # an evaluator of MONAI states its key metric
    """

    writes = True

    def __init__(self, network: torch.nn.Module, path: str | Path, safetensors: bool = False) -> None:
        self.network = network
        self.path = Path(path)
        self.twin = self.path.with_suffix(SUFFIX) if safetensors else None
        self.name = ""
        self.best: float | None = None
        self.earlier_run = ""
        self.epoch: int | None = None

    def attach(self, engine: Engine) -> None:
        """Run after every completed evaluation of ``engine``."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save if ``engine.state.metrics[key_metric_name]`` is the highest finite score so far.

        Raises:
            DataError: if the network has diverged to NaN or infinite weights; the file stays as it was.
        """
        self.name = str(engine.state.key_metric_name)
        score = float(engine.state.metrics[self.name])
        if not math.isfinite(score) or (self.best is not None and score <= self.best):
            return
        if self.best is None:
            set_aside(self.path, self.earlier_run)
            if self.twin is not None:
                set_aside(self.twin, self.earlier_run)
        save_weights(self.network, self.path)
        if self.twin is not None:
            save_weights(self.network, self.twin)
        self.best, self.epoch = score, int(engine.state.epoch)
        _LOG.info("best %s so far %.4f: weights saved to %s", self.name, score, self.path)
