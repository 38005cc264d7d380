"""A loss that is replaced by another loss when it stops decreasing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from medseg._arguments import checked_arguments
from medseg.losses._cross_entropy import check_not_empty, in_float32, widened
from medseg.losses.across_ranks import call_across_ranks

__all__ = ["SwitchOnPlateau", "switch_on_plateau"]


@checked_arguments
class SwitchOnPlateau(_Loss):
    """A loss that is replaced by another loss, permanently, when the reported values stop decreasing.

    Call `step` once per epoch with the training or validation loss. With ignite:
    ``trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: loss.step(engine.state.metrics["loss"]))``. The
    progress is in the state dict, so a resumed training switches in the same epoch as an uninterrupted one.

    Args:
        first: loss before the switch, any module or function of prediction and target.
        then: loss after the switch.
        patience: number of epochs without a new lowest value before the switch, at least 1.
        least: a value is a new lowest one only if it is below the former by at least this share; 0 or more, below 1.

    Attributes:
        switched: whether ``then`` is in use.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> loss = SwitchOnPlateau(torch.nn.L1Loss(), torch.nn.MSELoss(), patience=2)
        >>> [loss.step(value) for value in (1.0, 0.5, 0.5, 0.5)]
        [False, False, False, True]
        >>> loss(torch.tensor([0.5]), torch.tensor([0.0]))
        tensor(0.2500)
    """

    reduces_over_ranks = True
    lowest: Tensor
    waited: Tensor
    done: Tensor

    def __init__(self, first: nn.Module, then: nn.Module, patience: int = 5, least: float = 1e-3) -> None:
        super().__init__()
        if not (patience >= 1 and float(patience).is_integer()):
            raise ValueError(f"switch_on_plateau: patience is {patience}; expected at least 1 epoch")
        if not 0 <= least < 1:
            raise ValueError(f"switch_on_plateau: least is {least}; expected a share from 0, below 1")
        self.first, self.then = first, then
        self.patience, self.least = patience, least
        self.register_buffer("lowest", torch.tensor(torch.inf, dtype=torch.float64))
        self.register_buffer("waited", torch.tensor(0))
        self.register_buffer("done", torch.tensor(False))

    @property
    def switched(self) -> bool:
        """Whether the second loss is in use."""
        return bool(self.done)

    def step(self, value: float | Tensor) -> bool:
        """Report the loss of an epoch.

        Args:
            value: a finite number of 0 or more.

        Returns:
            True if this call caused the switch.

        Raises:
            ValueError: for a value that is negative, infinite or NaN.
        """
        number = float(value)
        if not 0 <= number < float("inf"):
            raise ValueError(f"switch_on_plateau: the epoch's loss is {number}; expected a finite number from 0")
        if self.switched:
            return False
        if number < float(self.lowest) * (1 - self.least):
            self.lowest.fill_(number)
            self.waited.zero_()
            return False
        self.waited += 1
        if int(self.waited) >= self.patience:
            self.done.fill_(True)
        return self.switched

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss in use for a prediction and its target.

        Args:
            input: prediction ``[B, ...]``; both losses get it in float32 (float64 for float64).
            target: whatever the losses take; both get 16-bit values in float32.

        Raises:
            ValueError: if the prediction is empty.
        """
        check_not_empty(type(self).__name__, input)
        loss = self.then if self.switched else self.first
        return call_across_ranks(loss, in_float32(input), widened(target))


def switch_on_plateau(
    then: nn.Module, first: nn.Module | None = None, patience: int = 5, least: float = 1e-3
) -> SwitchOnPlateau:
    """Use a plain loss first, and another loss when the plain one has stopped decreasing.

    Args:
        then: loss after the switch, such as `medseg.losses.FocalL2Loss`.
        first: loss before it. None: the mean squared error.
        patience: see `SwitchOnPlateau`.
        least: see `SwitchOnPlateau`.

    Returns:
        The loss; report the value of every epoch with its ``step``.

    Raises:
        ValueError: see `SwitchOnPlateau`.

    Example:
        >>> loss = switch_on_plateau(FocalL2Loss(), patience=5)
        >>> loss.step(0.3), loss.switched
        (False, False)
    """
    return SwitchOnPlateau(nn.MSELoss() if first is None else first, then, patience, least)
