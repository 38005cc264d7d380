"""The validation score of the bundles: mean Dice over the cases that have something to find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from ignite.metrics.metric import reinit__is_reduced
from monai.handlers import MeanDice
from monai.metrics.utils import do_metric_reduction

from medseg.training.distributed.ranks import gathered, processes
from medseg.training.distributed.shares import interleaved

__all__ = ["MeanDiceNonempty"]


class MeanDiceNonempty(MeanDice):
    """MONAI's ``MeanDice``, but undefined (NaN) where no case has foreground in its label.

    Dice of an empty label is undefined: MONAI leaves such cases out of the mean (``ignore_empty``), whatever the
    network marks in them. Where *all* labels are empty, its mean is 0.0, which looks like a bad score and loses to
    every other. Name the metric so that the name says it, such as ``val_mean_dice_nonempty``.

    In several processes that each evaluate their `medseg.training.distributed.share_of` the cases, the score and the
    details of the cases are those of a single process to the last bit, also if a process has no case.

    Args:
        *args: those of ``monai.handlers.MeanDice``.
        **kwargs: those of ``monai.handlers.MeanDice``.

    >>> from ignite.engine import Engine
    >>> metric = MeanDiceNonempty(include_background=True)
    >>> engine = Engine(lambda engine, batch: batch)
    >>> metric.attach(engine, "val_mean_dice_nonempty")
    >>> mark, nothing = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    >>> engine.run([(mark, mark), (mark, nothing)]).metrics["val_mean_dice_nonempty"]
    1.0
    >>> engine.run([(nothing, nothing), (mark, nothing)]).metrics["val_mean_dice_nonempty"]
    nan
    """

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all cases, at the start of an evaluation."""
        super().reset()
        self._own: list[torch.Tensor] = []

    @reinit__is_reduced
    def update(self, output: Sequence[Any]) -> None:
        """Add the cases of a batch.

        Args:
            output: predictions and labels, each one-hot ``[B, C, *S]`` or a list of ``[C, *S]``.
        """
        prediction, label = output
        values = self.metric_fn(prediction, label)
        assert isinstance(values, torch.Tensor)
        self._own.extend(values.detach().as_subclass(torch.Tensor).cpu())

    def compute(self) -> float:
        """The mean over the defined scores of all processes, or NaN without any."""
        if processes() == 1:
            score = super().compute()
            values = self.metric_fn.get_buffer()
        else:
            # MONAI's own exchange waits for ever for a process without a case, and puts the shares one after the other.
            cases = interleaved(gathered(self._own))
            values = torch.stack(cases) if cases else torch.empty(0, 1)
            score = float(do_metric_reduction(values.clone(), self.metric_fn.reduction)[0])  # it changes what it gets
            self._is_reduced = True
            if self.save_details and self._engine is not None:
                self._engine.state.metric_details[self._name] = values
        defined = isinstance(values, torch.Tensor) and bool(torch.isfinite(values).any())
        return float(score) if defined else math.nan
