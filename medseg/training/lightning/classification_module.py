"""Classification with Lightning: the network, loss and optimiser of a configuration, with accuracy and AUC."""

from __future__ import annotations

from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from monai.metrics import compute_roc_auc
from torch import Tensor
from torch.nn import functional as F

from medseg.training.lightning._configured_module import ConfiguredModule

__all__ = ["ClassificationModule"]


class ClassificationModule(ConfiguredModule):
    """A classification network with what trains and scores it, as a ``LightningModule``.

    Validation logs ``val_accuracy`` and ``val_auc``: the area under the ROC curve, for more than two classes its mean
    over the classes, each against the rest. It is NaN if a class has no case, or all of them. The label is the number
    of the class, ``[B]`` or ``[B, 1]``; a network with one output has the classes 0 and 1.

    Args:
        network: the network; its weights are the entries ``network.`` of a checkpoint.
        loss: called as ``loss(prediction, label)``.
        optimizer: with the parameters of the network.
        lr_scheduler: takes one step after every epoch, or None.
        inferer: calls the network in training. None: MONAI's ``SimpleInferer``.
        val_inferer: calls it in validation. None: MONAI's ``SimpleInferer``.
        prepare_batch: gives image, label and further arguments of the network. None: ``image`` and ``label``.
        seed: of what a step draws, such as dropout. None: torch's generator is left alone.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        >>> module = ClassificationModule(network, torch.nn.CrossEntropyLoss(), optimizer)
        >>> module(torch.zeros(3, 1, 4, 4)).shape
        torch.Size([3, 2])
    """

    _seen: list[tuple[Tensor, Tensor]]

    @classmethod
    def from_workflow(cls, workflow: ConfigWorkflow) -> ClassificationModule:
        """The module of a configuration, see `medseg.training.lightning.training_workflow`.

        Args:
            workflow: initialised.
        """
        return cls(**cls._parts_of(workflow))

    def on_validation_epoch_start(self) -> None:
        """Forgets the cases of the last validation."""
        self._seen = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Keeps scores and labels of a batch."""
        logits, label = self._predicted(batch, self.val_inferer)
        plain = torch.as_tensor(logits).detach().float()
        one = plain.sigmoid() if plain.shape[1] == 1 else plain.softmax(1)[:, 1:] if plain.shape[1] == 2 else None
        scores = plain.softmax(1) if one is None else torch.cat([1 - one, one], 1)
        self._seen.append((scores.cpu(), torch.as_tensor(label).reshape(-1).long().cpu()))

    def on_validation_epoch_end(self) -> None:
        """Logs accuracy and AUC of all cases."""
        scores, label = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self.log("val_accuracy", float((scores.argmax(1) == label).float().mean()), prog_bar=True)
        self.log("val_auc", _auc(scores, label), prog_bar=True)


def _auc(scores: Tensor, label: Tensor) -> float:
    """Area under the ROC curve of two classes, or its mean over several."""
    counts = torch.bincount(label, minlength=scores.shape[1])
    if len(counts) > scores.shape[1] or not bool(((counts > 0) & (counts < len(label))).all()):
        return float("nan")
    if scores.shape[1] == 2:
        return float(compute_roc_auc(scores[:, 1], label))
    return float(compute_roc_auc(scores, F.one_hot(label, scores.shape[1]), average="macro"))
