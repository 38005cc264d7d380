"""Segmentation with Lightning: the network, loss, optimiser, inferers and score of a bundle."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from monai.data import decollate_batch
from monai.metrics import DiceMetric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from medseg.io.bounded.errors import DataError
from medseg.training.lightning._configured_module import ConfiguredModule
from medseg.training.lightning.workflow import part_of

__all__ = ["SegmentationModule"]

_DICE_HANDLERS = ("medseg.training.mean_dice.MeanDiceNonempty", "medseg.training.MeanDiceNonempty", "MeanDice")
_OF_HANDLERS = {"_target_", "output_transform", "save_details"}


class SegmentationModule(ConfiguredModule):
    """A segmentation network with what trains and scores it, as a ``LightningModule``.

    The steps are those of MONAI's ``SupervisedTrainer``: from one configuration and seed, both give the same losses. A
    checkpoint of Lightning goes into a bundle as its ``weights`` or ``initial_weights``, and into a network by
    `medseg.io.load_weights`; weights that a bundle saved go in by ``initial_weights`` or ``load_weights(module.network,
    path)``.

    Args:
        network: the network; its weights are the entries ``network.`` of a checkpoint.
        loss: called as ``loss(prediction, label)``.
        optimizer: with the parameters of the network.
        lr_scheduler: takes one step after every epoch, or None.
        inferer: calls the network in training. None: MONAI's ``SimpleInferer``.
        val_inferer: calls it in validation, such as MONAI's ``SlidingWindowInferer``. None: ``SimpleInferer``.
        postprocessing: transform of the items ``pred`` and ``label`` of a validated case to one-hot masks ``[C, *S]``.
        prepare_batch: gives image, label and, for guided networks, further arguments. None: ``image`` and ``label``.
        seed: of what a step draws, such as dropout. None: torch's generator is left alone.
        metric: MONAI's ``DiceMetric`` with its options; the score is the mean over the cases with foreground.
        metric_name: name of the score in logs and for callbacks. It is NaN if no label has foreground.

    Example:
        >>> from monai.losses import DiceCELoss
        >>> from monai.transforms import AsDiscreted
        >>> network = torch.nn.Conv3d(1, 2, 3, padding=1)
        >>> optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
        >>> masks = AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=2)
        >>> loss = DiceCELoss(to_onehot_y=True, softmax=True)
        >>> module = SegmentationModule(network, loss, optimizer, postprocessing=masks)
        >>> module(torch.zeros(1, 1, 8, 8, 8)).shape
        torch.Size([1, 2, 8, 8, 8])
        >>> sorted(module.state_dict())
        ['network.bias', 'network.weight']
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[..., Tensor],
        optimizer: Optimizer,
        lr_scheduler: LRScheduler | None = None,
        inferer: Callable[..., Any] | None = None,
        val_inferer: Callable[..., Any] | None = None,
        postprocessing: Callable[..., Any] | None = None,
        prepare_batch: Callable[..., Any] | None = None,
        seed: int | None = None,
        metric: DiceMetric | None = None,
        metric_name: str = "val_mean_dice_nonempty",
    ) -> None:
        super().__init__(network, loss, optimizer, lr_scheduler, inferer, val_inferer, prepare_batch, seed)
        self.postprocessing = postprocessing
        self.metric = metric or DiceMetric(include_background=False)
        self.metric_name = metric_name

    @classmethod
    def from_workflow(cls, workflow: ConfigWorkflow) -> SegmentationModule:
        """The module of a configuration, see `medseg.training.lightning.training_workflow`.

        Args:
            workflow: initialised.

        Raises:
            DataError: if the key metric is not the mean Dice of MONAI or of `medseg.training.MeanDiceNonempty`.
        """
        name, metric = _metric_of(workflow)
        return cls(
            **cls._parts_of(workflow),
            postprocessing=part_of(workflow, "validate::postprocessing"),
            metric=metric,
            metric_name=name,
        )

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Adds the cases of a batch to the score."""
        prediction, label = self._predicted(batch, self.val_inferer)
        cases = decollate_batch({**batch, "pred": prediction, "label": label})
        if self.postprocessing is not None:
            cases = [self.postprocessing(case) for case in cases]
        self.metric(y_pred=[case["pred"] for case in cases], y=[case["label"] for case in cases])

    def on_validation_epoch_end(self) -> None:
        """Logs the mean over the cases that have foreground, or NaN."""
        found = self.metric.get_buffer()
        defined = isinstance(found, Tensor) and bool(torch.isfinite(found).any())
        score = self.metric.aggregate() if defined else math.nan
        assert isinstance(score, Tensor | float)
        self.metric.reset()
        self.log(self.metric_name, float(score), prog_bar=True)


def _metric_of(workflow: ConfigWorkflow) -> tuple[str, DiceMetric]:
    """Name and metric of the configuration's ``validate::key_metric``, without the handler of ignite around it."""
    raw = workflow.parser.get("validate", {}).get("key_metric", {})
    name, definition = next(iter(raw.items()), ("val_mean_dice_nonempty", {"_target_": "MeanDice"}))
    if not isinstance(definition, dict) or definition.get("_target_") not in _DICE_HANDLERS:
        target = definition.get("_target_") if isinstance(definition, dict) else definition
        raise DataError(
            f"validate::key_metric is {target!r}; expected the mean Dice, one of {', '.join(_DICE_HANDLERS)}; for "
            "another score derive a class from SegmentationModule"
        )
    options = {key: value for key, value in definition.items() if key not in _OF_HANDLERS}
    return name, DiceMetric(**options)
