"""Validate every few epochs, and always after the last one."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from medseg.training.distributed.evaluation import run_evaluation
from medseg.training.distributed.ranks import any_rank, is_writer

__all__ = ["EpochValidation"]

_LOG = logging.getLogger(__name__)


class EpochValidation:
    """Ignite handler for a MONAI trainer: runs a validation every ``interval`` epochs and after the last epoch.

    MONAI's ``ValidationHandler`` leaves the last epoch out where ``interval`` does not divide the number of epochs: a
    run that is shorter than ``interval`` then ends without any score. Without validation cases nothing is run, and one
    warning at the start says so. In several processes, those without a case of their own take part in every validation.

    Args:
        validator: the evaluator.
        interval: epochs from one validation to the next, at least 1.

    Raises:
        ValueError: for an interval below 1.

    >>> from types import SimpleNamespace
    >>> from ignite.engine import Engine
    >>> validator = SimpleNamespace(state=SimpleNamespace(epoch_length=1), run=lambda epoch: print("epoch", epoch))
    >>> trainer = Engine(lambda engine, batch: None)
    >>> EpochValidation(validator, interval=2).attach(trainer)
    >>> _ = trainer.run([0], max_epochs=5)
    epoch 2
    epoch 4
    epoch 5
    """

    def __init__(self, validator: Evaluator, interval: int) -> None:
        if interval < 1:
            raise ValueError(f"val_interval is {interval}; expected at least 1 epoch")
        self.validator, self.interval = validator, interval
        self.has_cases = bool(validator.state.epoch_length)

    def attach(self, engine: Engine) -> None:
        """Run after the epochs of the trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self.has_cases = any_rank(bool(self.validator.state.epoch_length))
        if not self.has_cases and is_writer():
            _LOG.warning("there are no validation cases: no score is measured and no best weights are kept")

    def __call__(self, engine: Engine) -> None:
        """Validate if the epoch is one for it."""
        epoch = engine.state.epoch
        if self.has_cases and (epoch % self.interval == 0 or epoch == engine.state.max_epochs):
            run_evaluation(self.validator, epoch)
