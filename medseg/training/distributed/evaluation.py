"""Run an evaluation in every process, also in those that have no case."""

from __future__ import annotations

from ignite.engine import Events
from monai.engines import Evaluator

from medseg.training.distributed.ranks import processes

__all__ = ["run_evaluation"]


def run_evaluation(evaluator: Evaluator, epoch: int = 1) -> None:
    """``evaluator.run(epoch)``, which a process without a case takes part in too.

    MONAI leaves a run without cases out. The other processes then wait for ever when the scores are put together. Here
    such a process only goes through the events of a run, so that its handlers and metrics meet those of the others.

    Args:
        evaluator: the engine; its data loader holds the share of this process.
        epoch: epoch of the training, or 1.

    >>> from torch.utils.data import DataLoader
    >>> from monai.engines import SupervisedEvaluator
    >>> evaluator = SupervisedEvaluator("cpu", DataLoader([{"image": torch.ones(1, 4)}]), torch.nn.Linear(4, 1))
    >>> run_evaluation(evaluator)
    >>> evaluator.state.iteration
    1
    """
    if evaluator.state.epoch_length or processes() == 1:
        evaluator.run(epoch)
        return
    state = evaluator.state
    state.max_epochs, state.epoch, state.iteration = max(epoch, 1), epoch, 0
    for event in (Events.STARTED, Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
        evaluator.fire_event(event)
