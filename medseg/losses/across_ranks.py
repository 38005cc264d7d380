"""Any loss in several processes: what is no mean over samples is refused, means count every sample once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from medseg.losses.rank_sums import each_rank_alone, mean_over_ranks, ratio_over_ranks, several_ranks

__all__ = ["AcrossRanks", "call_across_ranks"]

Loss = Callable[..., Tensor]

# MONAI's losses that are here with the same arguments.
_OWN = {"DiceLoss": "DiceLoss", "DiceCELoss": "DiceCELoss"}
_REMEDY = (
    "use medseg.losses.DiceLoss, DiceCELoss, VNetDiceLoss or CrossEntropyLoss, whose sums run over all processes, or a "
    "loss that is a mean over samples"
)


class AcrossRanks(_Loss):
    """The loss of the samples of all processes, for a network in `DistributedDataParallel`.

    Losses of medseg are that by themselves and are only called. Every other loss has to be a mean over samples; each
    process then counts with its number of samples, so that a last batch of unequal shares is right too. A loss that is
    no such mean (MONAI's Dice with ``batch=True``, torch's cross entropy with class weights) is refused: most of them
    before anything runs, the others at the first batch, where the loss of the batch is compared with the mean over its
    samples. In one process the loss is called as it is.

    A loss of your own that adds its sums over the processes has the attribute ``reduces_over_ranks = True``.

    Args:
        loss: a module or function of prediction and target, batch first.

    Raises:
        ValueError: in several processes, for a loss that is known not to be a mean over samples.

    Example:
        >>> AcrossRanks(torch.nn.MSELoss())(torch.zeros(2, 1, 4), torch.ones(2, 1, 4))
        tensor(1.)
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss
        self._looked_at = False
        if several_ranks():
            check_known(loss)

    def forward(self, input: Any, target: Any, *more: Any) -> Tensor:
        """The loss of the joint batch.

        Args:
            input: prediction ``[B, ...]``.
            target: target ``[B, ...]``.
            *more: further arguments of the loss, such as a map of weights.

        Raises:
            ValueError: at the first batch, for a loss that turns out not to be a mean over samples.
        """
        if several_ranks() and not self._looked_at and not _reduces(self.loss):
            check_mean(self.loss, input, target, *more)
        self._looked_at = True
        return call_across_ranks(self.loss, input, target, *more)


def call_across_ranks(loss: Loss, input: Any, target: Any, *more: Any) -> Tensor:
    """The loss of the samples of all processes: as it is if it adds over them itself, else as a mean over samples.

    Args:
        loss: a module or function.
        input: prediction ``[B, ...]``, or a list of predictions, as with deep supervision.
        target: target ``[B, ...]``.
        *more: further arguments of the loss.

    Example:
        >>> call_across_ranks(torch.nn.L1Loss(), torch.zeros(2, 4), torch.ones(2, 4))
        tensor(1.)
    """
    value = loss(input, target, *more)
    if not several_ranks() or _reduces(loss):
        return value
    samples = len(input[0] if isinstance(input, list | tuple) else input)
    return mean_over_ranks(value) if value.ndim else ratio_over_ranks(value * samples, samples)


def check_known(loss: Loss) -> None:
    """Raises ValueError for a loss of another package that divides by a sum over its own process's batch."""
    for part in loss.modules() if isinstance(loss, nn.Module) else ():
        if _reduces(part):
            continue
        whole = loss if type(loss).__name__ in _OWN else part
        kind = f"{type(whole).__module__.partition('.')[0]}'s {type(whole).__name__}"
        if getattr(part, "batch", False) is True:
            own = _OWN.get(type(whole).__name__)
            raise ValueError(
                f"loss: {kind} with batch=True divides by sums over the batch of one process, expected sums over all "
                f"processes; {f'use medseg.losses.{own} with the same arguments' if own else _REMEDY}"
            )
        if isinstance(part, nn.CrossEntropyLoss | nn.NLLLoss) and part.weight is not None:
            raise ValueError(
                f"loss: {kind} with class weights divides by the weights of the voxels of one process, expected those "
                "of all processes; use medseg.losses.CrossEntropyLoss or DiceCELoss with the same arguments"
            )


def check_mean(loss: Loss, input: Any, target: Any, *more: Any) -> None:
    """Raises ValueError if the loss of a batch is not the mean of the losses of its samples.

    One more sample joins the batch, because a process may have a single one: the first prediction with a target that
    has the value of its first voxel everywhere.
    """
    if not all(isinstance(value, Tensor) and value.ndim for value in (input, target, *more)):
        return
    tensors = [value.detach().as_subclass(Tensor) for value in (input, target, *more)]
    flat = tensors[1][:1].clone()
    if flat.ndim > 2:
        flat = flat.flatten(2)[:, :, :1].expand(-1, -1, flat[0, 0].numel()).reshape(flat.shape)
    batch = [torch.cat([value, flat if at == 1 else value[:1]]) for at, value in enumerate(tensors)]
    with torch.no_grad(), each_rank_alone():
        joint = float(loss(*batch).mean())
        single = [float(loss(*(value[i : i + 1] for value in batch)).mean()) for i in range(len(batch[0]))]
    mean = sum(single) / len(single)
    if abs(joint - mean) > 1e-3 * max(abs(joint), abs(mean)):
        name = type(loss).__name__ if isinstance(loss, nn.Module) else getattr(loss, "__name__", "function")
        raise ValueError(
            f"loss: {name} of a batch is {joint:.6g} and the mean over its samples {mean:.6g}, expected equal values: "
            f"several processes would not give the loss of the joint batch; {_REMEDY}"
        )


def _reduces(loss: object) -> bool:
    return getattr(loss, "reduces_over_ranks", False) is True
