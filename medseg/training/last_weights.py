"""Keep the last weights of a run, and say at its end which file is which."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ignite.engine import Engine, Events
from torch import nn

from medseg.io.bounded.errors import DataError
from medseg.io.bounded.weights import save_weights
from medseg.training.best_weights import BestWeightsSaver
from medseg.training.weights_files import set_aside

__all__ = ["LastWeightsSaver"]

_LOG = logging.getLogger(__name__)


class LastWeightsSaver:
    """Ignite handler for a MONAI trainer: writes the weights of every finished epoch, each over the one before.

    A run therefore always leaves its last weights, also without a validation, and a run that is stopped leaves those of
    its last whole epoch. The file is a plain state dict of the network: it holds no state of the optimiser.

    Files of earlier runs are never overwritten: they are renamed (``model.earlier-1.pt``) at the start, or, when the
    run goes on from one of its own two files, just before that file is replaced.

    Args:
        network: the module whose weights are kept.
        path: target file.
        best: the handler of the best weights, whose file is looked after too.
        initial_weights: file that the run started from, or None.

    >>> import torch
    >>> from ignite.engine import Engine
    >>> trainer = Engine(lambda engine, batch: None)
    >>> LastWeightsSaver(torch.nn.Linear(2, 1), "last.pt").attach(trainer)
    >>> _ = trainer.run([0], max_epochs=2)
    >>> sorted(torch.load("last.pt", weights_only=True))
    ['bias', 'weight']
    """

    writes = True

    def __init__(
        self,
        network: nn.Module,
        path: str | Path,
        best: BestWeightsSaver | None = None,
        initial_weights: str | Path | None = None,
    ) -> None:
        self.network, self.path, self.best = network, Path(path), best
        self.initial_weights = initial_weights
        self.epoch: int | None = None
        self.earlier_run = ""

    def attach(self, engine: Engine) -> None:
        """Run at the start, after every epoch and at the end of the trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, lambda engine: self.tell())

    def _start(self, engine: Engine) -> None:
        files = [self.path, *([self.best.path] if self.best is not None else [])]
        if any(_same(file, self.initial_weights) for file in files):
            return
        for file in files:
            set_aside(file, self.earlier_run)

    def __call__(self, engine: Engine) -> None:
        """Save the weights of the epoch.

        Raises:
            DataError: if the network has diverged to NaN or infinite weights; those of the epoch before are kept.
        """
        if self.epoch is None:
            set_aside(self.path, self.earlier_run)
        try:
            self._write(engine)
        except DataError as error:
            raise DataError(f"epoch {engine.state.epoch}: {error}; {self.kept()}") from error
        self.epoch = engine.state.epoch

    def _write(self, engine: Engine) -> None:
        save_weights(self.network, self.path)

    def kept(self) -> str:
        """Which weights of this run are on the disk, in words."""
        if self.epoch is None:
            return "no epoch was finished, so there are no weights of this run"
        best = self.best
        if best is None or best.epoch is None:
            return f"last weights (epoch {self.epoch}): {self.path}"
        return (
            f"best weights ({best.name} {best.best:.4f}, epoch {best.epoch}): {best.path}; "
            f"last weights (epoch {self.epoch}): {self.path}"
        )

    def tell(self) -> None:
        """Log which file is which; a warning if there are no best weights."""
        if self.best is not None and self.best.epoch is None:
            _LOG.warning(
                "no validation gave a score, so %s was not written; %s can be used in its place",
                self.best.path,
                self.path,
            )
        _LOG.info("training has ended; %s", self.kept())


def _same(first: Path, second: str | Path | None) -> bool:
    return second is not None and first.exists() and Path(second).exists() and os.path.samefile(first, second)
