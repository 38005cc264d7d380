"""Processes that have no sample of a batch left take a stand-in that does not count."""

from __future__ import annotations

from ignite.engine import Engine, Events

from medseg.losses.rank_sums import let_count
from medseg.training.distributed.ranks import processes, rank

__all__ = ["StandIns"]


class StandIns:
    """Ignite handler for a trainer: a batch that a process only takes because it has none of its own does not count.

    The last batch of an epoch may hold fewer samples than there are processes. `medseg.training.EpochBatches` then
    gives a process without a share the first sample of that batch, so that all processes do the same steps; the losses
    of medseg, and `medseg.losses.AcrossRanks` around others, count it with weight 0.

    Args:
        length: number of samples in an epoch, of all processes together.
        batch_size: number of samples of one process in a batch.

    >>> from ignite.engine import Engine
    >>> trainer = Engine(lambda engine, batch: None)
    >>> StandIns(length=5, batch_size=2).attach(trainer)
    """

    def __init__(self, length: int, batch_size: int) -> None:
        self.length, self.batch_size = length, batch_size

    def attach(self, engine: Engine) -> None:
        """Look at every batch before its step."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)
        engine.add_event_handler(Events.COMPLETED, lambda engine: let_count(True))

    def __call__(self, engine: Engine) -> None:
        """Tell the losses whether the batch at hand counts."""
        whole = self.batch_size * processes()
        number = (engine.state.iteration - 1) % -(-self.length // whole)
        samples = min(whole, self.length - number * whole)
        let_count(samples > rank())
