"""Make what a step draws a function of the seed and the number of the step."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events

from medseg.training.distributed.ranks import rank
from medseg.training.sampling import EpochBatches, step_seed

__all__ = ["SeededSteps"]


class SeededSteps:
    """Ignite handler for a trainer: tells the sampler the epoch, and seeds torch before every step.

    Dropout and other layers that draw then do the same in a run that was stopped and went on as in one that was not.

    Args:
        seed: at least 0.
        batches: the sampler of the trainer's loader, or None.

    >>> trainer = Engine(lambda engine, batch: float(torch.rand(1)))
    >>> SeededSteps(seed=0).attach(trainer)
    >>> drawn = []
    >>> _ = trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: drawn.append(engine.state.output))
    >>> _ = trainer.run([0, 1], max_epochs=1), trainer.run([0, 1], max_epochs=1)
    >>> drawn[:2] == drawn[2:]
    True
    """

    def __init__(self, seed: int = 0, batches: EpochBatches | None = None) -> None:
        self.seed, self.batches = seed, batches

    def attach(self, engine: Engine) -> None:
        """Run at the start of every epoch and of every step."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch)
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def _epoch(self, engine: Engine) -> None:
        if self.batches is not None:
            length = engine.state.epoch_length
            self.batches.set_epoch(engine.state.epoch, engine.state.iteration % length if length else 0)

    def __call__(self, engine: Engine) -> None:
        """Seed torch for the step."""
        torch.manual_seed(step_seed(self.seed, engine.state.iteration, rank()))
