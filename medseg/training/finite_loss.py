"""Stop a training whose loss is not a finite number."""

from __future__ import annotations

import math
from typing import Any

import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys

from medseg.io.bounded.errors import DataError, shorten
from medseg.training.distributed.errors import EveryProcessError
from medseg.training.distributed.ranks import any_rank, gathered, processes
from medseg.training.distributed.shares import interleaved
from medseg.training.last_weights import LastWeightsSaver

__all__ = ["FiniteLossGuard", "case_names"]


class FiniteLossGuard:
    """Ignite handler for a MONAI trainer: a loss that is NaN or infinite stops the training.

    It runs between the loss and its gradient, so no weight ever takes part in a step with such a loss. In several
    processes, all stop at the same step, and the error names the cases of all.

    Args:
        last: the handler of the last weights; the error then says which weights are kept.

    >>> from types import SimpleNamespace
    >>> state = SimpleNamespace(epoch=3, iteration=25, output={"loss": float("nan")}, batch={})
    >>> FiniteLossGuard()(SimpleNamespace(state=state))
    Traceback (most recent call last):
        ...
    medseg.io.bounded.errors.DataError: epoch 3, iteration 25: the loss is nan, so the training was stopped; ...
    """

    def __init__(self, last: LastWeightsSaver | None = None) -> None:
        self.last = last

    def attach(self, engine: Engine) -> None:
        """Run after every computation of the loss."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Look at the loss of the batch.

        Raises:
            DataError: one line with the epoch, the iteration, the cases of the batch and what is kept.
        """
        found = engine.state.output[CommonKeys.LOSS]
        loss = float(found.detach() if isinstance(found, torch.Tensor) else found)
        if not any_rank(not math.isfinite(loss)):
            return
        loss = next(value for value in gathered(loss) if not math.isfinite(value))
        names = list(dict.fromkeys(interleaved(gathered(case_names(engine.state.batch)))))
        cases = f" (cases: {shorten(names)})" if names else ""
        kept = f"; {self.last.kept()}" if self.last is not None else ""
        kind = DataError if processes() == 1 else EveryProcessError
        raise kind(
            f"epoch {engine.state.epoch}, iteration {engine.state.iteration}{cases}: the loss is {loss}, so the "
            f"training was stopped; lower learning_rate or look at these cases{kept}"
        )


def case_names(batch: Any) -> list[str]:
    """Files of the images in a batch, each once; empty where the meta data do not say.

    Args:
        batch: what a trainer takes, a dictionary with the key ``image``.

    >>> import torch
    >>> from monai.data import MetaTensor
    >>> case_names({"image": MetaTensor(torch.zeros(2, 1, 4, 4), meta={"filename_or_obj": ["a.nii", "a.nii"]})})
    ['a.nii']
    """
    image = batch.get(CommonKeys.IMAGE) if isinstance(batch, dict) else None
    names = image.meta.get("filename_or_obj", []) if isinstance(image, MetaTensor) else []
    return list(dict.fromkeys(str(name) for name in ([names] if isinstance(names, str) else names)))
