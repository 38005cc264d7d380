"""The state of a learning-rate schedule, also for a run that was made longer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

__all__ = ["restore_schedule"]

_LOG = logging.getLogger(__name__)


def restore_schedule(scheduler: Any, state: Mapping[str, Any], same: bool) -> None:
    """Give a fresh scheduler the state of a saved one.

    Args:
        scheduler: made for this run, with its optimiser's state already restored.
        state: ``state_dict()`` of the saved one.
        same: whether the run has as many epochs as before. Otherwise options such as ``total_iters`` stay those of this
            run, and the learning rates are those of a run that had them from its start, where the scheduler has a
            closed form; else the saved schedule goes on, and a warning says so.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    >>> longer = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, total_iters=10)
    >>> restore_schedule(longer, {"last_epoch": 5, "total_iters": 5}, same=False)
    >>> optimizer.param_groups[0]["lr"]
    0.75
    """
    closed_form = getattr(scheduler, "_get_closed_form_lr", None)
    if same or closed_form is None:
        scheduler.load_state_dict(dict(state))
        if not same:
            _LOG.warning(
                "%s has no closed form: its saved schedule goes on although the number of epochs has changed",
                type(scheduler).__name__,
            )
        return
    scheduler.last_epoch = state["last_epoch"]
    scheduler._step_count = state.get("_step_count", state["last_epoch"] + 1)
    rates = [float(rate) for rate in closed_form()]
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = rates
