"""The validation score of the bundles: mean Dice over the cases that have something to find."""

from __future__ import annotations

import math

import torch
from monai.handlers import MeanDice

__all__ = ["MeanDiceNonempty"]


class MeanDiceNonempty(MeanDice):
    """MONAI's ``MeanDice``, but undefined (NaN) where no case has foreground in its label.

    Dice of an empty label is undefined: MONAI leaves such cases out of the mean (``ignore_empty``), whatever the
    network marks in them. Where *all* labels are empty, its mean is 0.0, which looks like a bad score and loses to
    every other. Name the metric so that the name says it, such as ``val_mean_dice_nonempty``.

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

    def compute(self) -> float:
        """The mean over the defined scores, or NaN without any."""
        score = super().compute()
        values = self.metric_fn.get_buffer()
        defined = isinstance(values, torch.Tensor) and bool(torch.isfinite(values).any())
        return float(score) if defined else math.nan
